"""The commonest function words of some languages: articles, pronouns, prepositions, conjunctions, auxiliaries."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

_WORDS = {
    "de": "der die das den dem des ein eine einen einem einer eines und oder aber nicht kein keine ich du er sie es wir "
    "ihr man sich mich mir ihn ihm ihnen ist sind war waren wird werden wurde wurden hat haben hatte kann können muss "
    "müssen soll in im an am auf aus bei beim mit nach von vom vor zu zum zur über unter durch für gegen ohne um bis dass "
    "wenn weil als wie auch noch nur schon so da hier dort was wer wo diese dieser dieses diesem diesen sein seine ihre",
    "en": "the a an and or but not no i you he she it we they me him her us them is are was were be been being has have had "
    "do does did will would can could may might shall should must in on at to of for from by with about into over under "
    "after before between through as if than that this these those which who whom whose what when where while because so "
    "there here also only its his their our your my",
    "fr": "le la les un une des du de et ou mais ne pas que qui quoi dont où je tu il elle on nous vous ils elles me te se "
    "lui leur est sont était étaient être a ont avait avoir au aux en dans sur sous par pour avec sans chez entre vers ce "
    "cette ces cet son sa ses mon ma mes notre nos votre vos si comme plus très aussi même l d qu n s c j y",
    "es": "el la los las un una unos unas y o u pero no ni que quien cual donde yo tú él ella nosotros ellos ellas me te se "
    "le les lo es son era eran ser está están ha han había haber a al de del en con sin por para sobre entre hasta desde "
    "como más muy también si su sus mi mis este esta estos estas ese esa",
    "it": "il lo la i gli le un uno una e o ma non né che chi cui dove io tu lui lei noi voi loro mi ti si ci vi è sono era "
    "erano essere ha hanno aveva avere a al allo alla ai agli alle da dal dalla di del dello della dei degli delle in nel "
    "nella nei con su sul sulla per tra fra come più molto anche se suo sua questo questa questi queste l d",
    "nl": "de het een en of maar niet geen ik je jij hij zij ze we wij jullie mij hem haar ons hun is zijn was waren wordt "
    "worden werd heeft hebben had kan kunnen moet moeten zal in op aan uit bij met naar van voor over onder door tegen om "
    "tot te dat die dit deze als dan ook nog maar al er hier daar wat wie waar",
    "sv": "en ett den det de och eller men inte ingen inget jag du han hon vi ni dem mig dig sig oss är var vara blir blev "
    "har hade kan kunde ska skulle måste i på av till från för med utan om under över efter mellan genom vid att som när "
    "där här vad vem så också bara än denna detta dessa sin sitt sina",
    "pl": "i a ale lub nie w we na z ze do od po za o u przy przez dla pod nad bez się jest są był była było być ma mają że "
    "to ten ta te tego tej jak co kto który która które gdy czy już tylko także jego jej ich on ona oni ja ty my",
}
FUNCTION_WORDS = {language: frozenset(words.split()) for language, words in _WORDS.items()}


def function_words(languages: Iterable[str]) -> frozenset[str]:
    """The words of the given languages together; of all languages here where none of them is known."""
    known = frozenset(FUNCTION_WORDS)
    return _together(known.intersection(languages) or known)


@lru_cache
def _together(languages: frozenset[str]) -> frozenset[str]:
    return frozenset().union(*(FUNCTION_WORDS[language] for language in languages))
