// What the studio's server takes and answers; made from its models (`make api`), not by hand.
// A name in Gets, Posts and Streams is a route's; {} in one stands for an id.
declare namespace Api {
  /** Predicted beside measured over removed nodes: Pearson's r, slope of measured on predicted, share of equal signs. */
  interface Agreement {
    rule: "frozen" | "grad";
    effect: "direct" | "full";
    nodes: number;
    pearson: number;
    slope: number;
    signs: number;
  }

  /** What somebody calls a part; '' takes the correction back. instead: the label that stood there. */
  interface Correction {
    seq: number;
    time: string;
    part: string;
    label: string;
    instead: string;
    author: string;
  }

  /** The last line's number, and by part the correction that counts. */
  interface CorrectionsView {
    last: number;
    parts: Record<string, Correction>;
  }

  /** Domains that were not measured on so many tokens, since the time was up. */
  interface Cut {
    tokens: number;
    domains: string[];
    seconds: number;
  }

  /** What is missing of the dials' figures. */
  interface CutShort {
    cut: Cut;
  }

  /** KL(base ‖ edited) over the tokens of the first look, nats: mean, 99th percentile, largest. */
  interface Divergence {
    mean: number;
    p99: number;
    largest: number;
  }

  /** What an edit does to one domain. role: forget, retain or off-target, where there is an aim. */
  interface DomainDamage {
    base: number;
    edited: number;
    rise: number;
    error: number | null;
    low: number | null;
    high: number | null;
    level: number;
    tokens: number;
    passages: number;
    domain: string;
    role: string | null;
  }

  /** A part on the text of one domain, as `DomainRow` has it: share of tokens it fires on, means over all of them. */
  interface DomainFigures {
    domain: string;
    tokens: number;
    density: number;
    importance: number;
    activation: number;
    lift: number;
  }

  /** A line: dials that were kept, or a step back or forth among those. */
  interface Entry {
    seq: number;
    time: string;
    kind: "set" | "undo" | "redo";
    name: string;
    scales: Record<string, number>;
  }

  /** A window of text around a firing; importances of its tokens. */
  interface ExampleView {
    domain: string;
    centre: number;
    tokens: string[];
    importances: number[];
  }

  /** A job. out: where it goes, in the workspace; figures: of the verification after reload. */
  interface Export {
    id: number;
    entry: number;
    form: "edit" | "adapter" | "checkpoint";
    out: string;
    state: "running" | "done" | "failed";
    said: string;
    figures: Record<string, string | number>;
    warnings: string[];
  }

  /** An edit of the journal by its number, and what becomes of it. */
  interface ExportRequest {
    entry: number;
    as?: "edit" | "adapter" | "checkpoint";
  }

  /** The exports since the studio was started, the last first. */
  interface ExportsView {
    jobs: Export[];
  }

  /** A prompt to continue by both models. */
  interface GenerateRequest {
    prompt: string;
    scales: Record<string, number>;
    tokens?: number;
    chat?: boolean;
    client?: string;
  }

  /** A graph of the workspace, the rule of the edges that are shown, and how many of the strongest nodes are. */
  interface GraphAsked {
    id: string;
    rule?: "frozen" | "grad";
    nodes?: number;
    pinned?: string[];
    groups?: Record<string, string[]>;
  }

  /** What a graph predicted of a change, beside what happened; or what it says with some nodes alone: p of `target`. */
  interface GraphInterveneReply {
    graph: string;
    places: string[];
    outcomes: Outcome[];
    likely: Likely[];
    kept: MaskedRow[];
    target: string | null;
    before: string | null;
    after: string | null;
    edit: string | null;
    opened: string;
    trust: string;
  }

  /** A graph in figures; the whole of it is the artefact. behind_patterns: subcomponents of queries and keys, which have no */
  interface GraphReply {
    prompt: string;
    tokens: string[];
    outputs: OutputRecord[];
    rule: "frozen" | "grad";
    edges: Record<string, number>;
    scores: Scores;
    kinds: RestRow[];
    nodes: NodeRow[];
    behind_patterns: number;
    pattern_edges: number;
    patterns: PatternRow[];
    masked: MaskedRow[];
    verification: Verification | null;
    trust: string;
    processor_seconds: number;
    not_compared: string[];
    out: string | null;
  }

  /** A saved graph in figures. exact: whether all that should be exact is; None where nothing was checked. */
  interface GraphView {
    graph: GraphReply;
    exact: boolean | null;
    pinned: NodeRow[];
    groups: GroupRow[];
  }

  /** All graphs of the workspace by name. */
  interface GraphsView {
    graphs: ListedGraph[];
  }

  /** Edges between a group and another node or group, added up. into: into the group's nodes; out: out of them; None */
  interface GroupEdge {
    name: string;
    into: number | null;
    out: number | null;
  }

  /** Nodes taken together: sums of what `NodeRow` says of each. within: edges among them, None where there is none; */
  interface GroupRow {
    name: string;
    nodes: NodeRow[];
    influence: number;
    effect: number | null;
    within: number | null;
    edges: GroupEdge[];
  }

  /** What a harvest stored about a part. domains: the one that it fires on most first. */
  interface HarvestView {
    source: string;
    tokens: number;
    firings: number;
    domains: DomainFigures[];
    labels: LabelView[];
    inputs: TokenShare[];
    outputs: TokenShare[];
    cofiring: Near[];
    examples: ExampleView[];
  }

  /** A token whose cross-entropy rises: by how many nats, and the text before it. */
  interface Hit {
    before: string;
    token: string;
    rise: number;
  }

  /** Parts whose importance is asked for at one token of a text. at: its place, counted from 0 as they are shown. */
  interface ImportanceRequest {
    text: string;
    at: number;
    parts: string[];
  }

  /** Causal importances of parts at one token, in the order in which they were named. */
  interface Importances {
    values: number[];
  }

  /** A part that matters at a token, and its causal importance there. */
  interface Important {
    part: string;
    importance: number;
  }

  /** What is done with a graph's nodes: factors of places (0 drops one), or `keep` alone; tokens: to go on with. */
  interface InterveneAsked {
    id: string;
    changes?: Record<string, number>;
    keep?: string[];
    tokens?: number;
  }

  /** All kept edits, the last that stands now, and whether a step back or forth is there. */
  interface JournalView {
    entries: Entry[];
    last: number;
    current: number | null;
    undone: number[];
    can_undo: boolean;
    can_redo: boolean;
  }

  type JsonValue = unknown;

  /** A line of a decomposition's verdict. met: a property holds, or a known failure is absent; None: not measured. */
  interface Judged {
    of: "property" | "failure";
    name: string;
    met: boolean | null;
    said: string;
    bar: string;
  }

  /** A label with who says it, how sure, why. cut: how many characters there are of what is longer than is shown. */
  interface LabelView {
    label: string;
    source: string;
    confidence: number;
    reasoning: string;
    scores: Record<string, number>;
    cut: Record<string, number>;
  }

  /** A token that the model may give next, before and after. */
  interface Likely {
    token: string;
    before: number;
    after: number;
  }

  /** What the page may ask for: the largest |α|. */
  interface Limits {
    scale: number;
  }

  /** A graph of the workspace. outputs: what it explains; replacement: share of influence that is of tokens. */
  interface ListedGraph {
    id: string;
    name: string;
    state: "exact" | "not exact" | "not verified" | "broken";
    prompt: string;
    outputs: string[];
    node_set: string;
    replacement: number | null;
    broken: string;
    hashed: boolean;
  }

  /** How often in all, and by what was asked. */
  interface Looked {
    total: number;
    by: Record<string, number>;
  }

  /** What the masked model says at the target position, with only the graph's nodes let through. */
  interface MaskedRow {
    masks: "importance" | "binary" | "stochastic" | "adversarial" | "adversarial, all sources";
    nodes: number;
    random: boolean;
    draws: number;
    probability: number | null;
    probability_sd: number | null;
    value: number;
    kl: number;
    kl_sd: number | null;
  }

  /** One domain at the dials' scales. tokens: how many were asked for; worst: the tokens hit worst. */
  interface Measured {
    damage: DomainDamage;
    tokens: number;
    kl: Divergence | null;
    worst: Hit[];
  }

  /** A domain's figures as they come. */
  interface MeasuredRow {
    row: Measured;
  }

  /** Numbers by name, all of the same steps; a step that lacks one has None there. */
  interface Metrics {
    id: string;
    steps: number[];
    values: Record<string, (number | null)[]>;
  }

  /** Names of parts, of which those are told that are none. */
  interface NamesRequest {
    names: string[];
  }

  /** Of the names that were asked about those that are of no part, with the reason. */
  interface NamesView {
    refused: Record<string, string>;
  }

  /** A part that another one is near to: by the cosine of their directions, or by how often both fire (jaccard). */
  interface Near {
    part: string;
    value: number;
    label: string;
  }

  /** Dials to keep. after: the last entry that the page has seen, so that two pages do not write past each other. */
  interface NewEdit {
    scales: Record<string, number>;
    name?: string;
    after: number;
  }

  /** A part's label corrected by hand, '' to take the correction back. instead: what stood there. after: as in NewEdit. */
  interface NewLabel {
    name: string;
    label: string;
    instead?: string;
    after: number;
  }

  /** One node, by the rule that was asked for. influence: on the outputs through all paths; effect: its edge into the first */
  interface NodeRow {
    name: string;
    token: string;
    label: string | null;
    importance: number | null;
    influence: number;
    effect: number | null;
  }

  /** Names of what is to be opened, and where it is computed with. */
  interface OpenOptions {
    model: string;
    decomposition: string | null;
    text: string;
    parts: string | null;
    harvest: string | null;
    labels: string | null;
    clusters: string | null;
    device: string | null;
    dtype: "float32" | "bfloat16";
  }

  /** One output under changes. predicted_direct: edges into it; predicted: through all paths; happened: its value less what */
  interface Outcome {
    text: string;
    before: number;
    predicted_direct: Record<string, number>;
    predicted: Record<string, number>;
    happened: number;
    probability: number | null;
    probability_after: number | null;
  }

  /** An output node: its text, its tokens and factors, its probability in the target (None for a contrast). */
  interface OutputRecord {
    text: string;
    tokens: number[];
    factors: number[];
    probability: number | null;
    value: number;
  }

  /** All parts, or none of a list that is sent in pages, with what their places stand for; names: of the domains. */
  interface PartColumns {
    site: number[];
    number: number[];
    label: string[];
    label_source: number[];
    confidence: number[];
    density: number[];
    importance: number[];
    by_domain: number[][];
    source: Source;
    sites: string[];
    label_sources: string[];
    domains: string[];
    names: Record<string, string>;
  }

  /** A part to be shown. */
  interface PartRequest {
    name: string;
  }

  /** One part as the page shows it; harvest: None where none is open. directions: near parts by the kind of nearness. */
  interface PartView {
    name: string;
    harvest: HarvestView | null;
    directions: Record<string, Near[]>;
  }

  /** An edge by `grad` that acts through attention patterns alone. share: of the absolute effects on its target. */
  interface PatternRow {
    source: string;
    target: string;
    weight: number;
    share: number;
  }

  /** Dials as they stand. client, seq: of several moves of one page the last one counts. */
  interface PreviewRequest {
    scales: Record<string, number>;
    client?: string;
    seq?: number;
  }

  /** A text whose tokens are looked into. top: parts named per token, of importance above `threshold`. */
  interface PromptRequest {
    text: string;
    top?: number;
    threshold?: number;
  }

  /** Which parts matter where in a text; sites in the order of `sums`. */
  interface PromptView {
    sites: string[];
    tokens: TokenView[];
  }

  /** Before figures: how many portions of the text the unedited model has read, of how many. */
  interface Reading {
    read: number;
    of: number;
  }

  /** Why something was not done; with a status of 400 and more. */
  interface Refused {
    error: string;
  }

  /** One node taken out: what the graph said would change at the output, and what did. Of the output's value (a centred */
  interface Removal {
    node: number;
    name: string;
    predicted_direct: Record<string, number>;
    predicted_full: Record<string, number>;
    direct: number;
    full: number;
  }

  /** Rises of a part's scale at one α, by domain, nats per token; cut: domains that time was too short for. */
  interface ResponsePoint {
    alpha: number;
    rises: Record<string, number>;
    tokens: number;
    cut: string[];
  }

  /** A part whose scale is moved from end to end. */
  interface ResponseRequest {
    name: string;
    client?: string;
  }

  /** All nodes of a kind: how many, and their influence as a share of all. */
  interface RestRow {
    kind: "subcomponent" | "unselected" | "delta" | "undecomposed" | "bias" | "embedding" | "position" | "operation bias" | "output";
    nodes: number;
    influence: number;
  }

  /** A value of some parts in each column, which is named as in one row; by_domain: a column for each of the domains. */
  interface Rows {
    site: number[];
    number: number[];
    label: string[];
    label_source: number[];
    confidence: number[];
    density: number[];
    importance: number[];
    by_domain: number[][];
  }

  /** A search as the page's address has it, and from which of the rows that fit; or the rows of some parts by name. */
  interface RowsRequest {
    q?: string;
    site?: string;
    on?: string;
    by?: string;
    sort?: "" | "match" | "density" | "importance" | "margin" | "name";
    dead?: boolean;
    first?: number;
    names?: string[];
  }

  /** Rows of the list that fit what was asked for, from `first` on. total: how many fit; all: parts of the list. */
  interface RowsView {
    all: number;
    total: number;
    first: number;
    rows: Rows;
  }

  /** A run. id: of its place; quiet: seconds since its last line; going: whether that is recent. */
  interface Run {
    id: string;
    name: string;
    quiet: number;
    going: boolean;
  }

  /** The runs of the workspace, the one that wrote last first. */
  interface RunsView {
    runs: Run[];
  }

  /** By the frozen rule, in [0, 1]. replacement: influence of tokens over tokens and rest, through the graph; */
  interface Scores {
    replacement: number;
    completeness: number;
  }

  /** An artefact. id: the start of its fingerprint, or for a broken one of its place. broken: what is wrong with it; */
  interface Shelved {
    id: string;
    name: string;
    kind: string;
    size: number;
    page: boolean;
    broken: string;
    hashed: boolean;
  }

  /** What the model says without or with the dials. */
  interface Side {
    prompt: string;
    chat: boolean;
    text: string;
    tokens: number;
    finish: "end" | "length";
    note: string;
    side: "before" | "after";
  }

  /** Before the dials' figures: chance, nats, and Σ ‖ΔW‖ of the parts that are turned. */
  interface Sized {
    chance: number;
    size: number;
  }

  /** What the columns were counted on. artifact: fingerprint of the decomposition on disk; tokens: by domain. */
  interface Source {
    artifact: string;
    model: string;
    text: string;
    split: string;
    firing: number;
    tokens: Record<string, number>;
  }

  /** The nodes of another fit beside the graph's: of another seed, or of a paraphrase (compared without positions). */
  interface StabilityRow {
    what: string;
    nodes: number;
    shared: number;
    jaccard: number;
  }

  /** The number of an export that was begun. */
  interface Started {
    job: number;
  }

  /** Undo or redo. after: as in NewEdit. */
  interface Step {
    after: number;
  }

  /** What is open. chance: ln of the vocabulary, nats; parts: subcomponents of the decomposition, 0 without one. */
  interface Subject {
    model: string;
    parameters: number;
    parts: number;
    chance: number;
    domains: string[];
    device: string;
    verdict: Judged[];
  }

  /** A page of a label's whole text, hidden characters made visible; pages: how many there are. */
  interface TextPage {
    text: string;
    pages: number;
  }

  /** A page of what a label of a part says, whole; label, page: counted from 0. */
  interface TextRequest {
    name: string;
    label: number;
    of?: "label" | "source" | "reasoning";
    page?: number;
  }

  /** A token with its PMI (nats), and the share of the firings that are on it. */
  interface TokenShare {
    token: string;
    pmi: number;
    share: number;
  }

  /** A token of a text. sums: Σ of importances by site. top: the parts that matter more here than they usually do. */
  interface TokenView {
    text: string;
    sums: number[];
    top: Important[];
  }

  /** A verb that is offered: JSON schemas of its request, without places on disk, and of its reply. */
  interface VerbSchema {
    name: string;
    help: string;
    cost: "instant" | "seconds" | "minutes";
    request: Record<string, JsonValue>;
    reply: Record<string, JsonValue>;
  }

  /** All verbs that are offered, and why each of the others is not. */
  interface VerbsView {
    verbs: VerbSchema[];
    not_offered: Record<string, string>;
  }

  /** `verification.json`: how far a graph is to be trusted (docs/circuits.md has each check). */
  interface Verification {
    identity_targets: number;
    identity_worst: number;
    identity_beyond_rounding: number;
    identity_over: number;
    linearity: number;
    difference: number;
    connectivity: number;
    causality: number;
    extension: number;
    scores: Scores;
    scores_fewer: Scores;
    masked: MaskedRow[];
    dropped_all: MaskedRow;
    removals: Removal[];
    agreement: Agreement[];
    stability: StabilityRow[];
    processor_seconds: number;
  }

  /** The process that owns the model. alive: jobs that have not ended. */
  interface WorkerState {
    alive: number;
    restarts: number;
  }

  /** What is open, and what lies in the workspace. */
  interface WorkspaceView {
    version: string;
    options: OpenOptions;
    artefacts: Shelved[];
    looks: Looked;
    worker: WorkerState;
    limits: Limits;
  }

  interface Gets {
    "/api/checked": WorkspaceView;
    "/api/columns": PartColumns;
    "/api/edits": JournalView;
    "/api/exports": ExportsView;
    "/api/graphs": GraphsView;
    "/api/graphs/checked": GraphsView;
    "/api/labels": CorrectionsView;
    "/api/runs": RunsView;
    [path: `/api/runs/${string}`]: Metrics;
    "/api/verbs": VerbsView;
    "/api/warm": Subject;
    "/api/workspace": WorkspaceView;
  }

  interface Posts {
    "/api/edits": { body: NewEdit; answer: JournalView };
    "/api/exports": { body: ExportRequest; answer: Started };
    "/api/graph": { body: GraphAsked; answer: GraphView };
    "/api/importance": { body: ImportanceRequest; answer: Importances };
    "/api/intervene": { body: InterveneAsked; answer: GraphInterveneReply };
    "/api/labels": { body: NewLabel; answer: CorrectionsView };
    "/api/named": { body: NamesRequest; answer: NamesView };
    "/api/part": { body: PartRequest; answer: PartView };
    "/api/prompt": { body: PromptRequest; answer: PromptView };
    "/api/redo": { body: Step; answer: JournalView };
    "/api/rows": { body: RowsRequest; answer: RowsView };
    "/api/text": { body: TextRequest; answer: TextPage };
    "/api/undo": { body: Step; answer: JournalView };
  }

  interface Streams {
    "/api/generate": { body: GenerateRequest; partial: Side };
    "/api/preview": { body: PreviewRequest; partial: Sized | Reading | MeasuredRow | CutShort };
    "/api/response": { body: ResponseRequest; partial: ResponsePoint };
  }
}
