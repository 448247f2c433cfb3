"""The cases that once failed, by number, with the kind of each and the names of the tests that hold it.

Cases came from public reports of this field (of transformers, PEFT, vLLM, datasets, EasyEdit, TransformerLens, llama.cpp)
and from kills, faults and two writers.
"""

from __future__ import annotations

HELD: dict[int, tuple[str, ...]] = {
    # an adapter on names that PEFT rewrites, or without PEFT: refused, or said not to be verified
    1: (
        "test_an_adapter_is_certified_only_as_far_as_its_consumer_was_asked",
        "test_verification_without_peft_says_so",
        "test_each_class_is_right_or_refused",
    ),
    # dt_proj of Mamba and Jamba: no adapter, no masks
    2: (
        "test_weights_that_are_read_past_their_module_are_no_adapter",
        "test_a_layer_without_bias_may_be_asked_for_it",
    ),
    # code of the current folder
    3: ("test_no_code_of_the_current_folder_runs",),
    # a folder that appears at the output
    4: ("test_what_appears_at_the_output_during_the_work_is_never_deleted",),
    # two writers to one place
    5: (
        "test_a_place_that_another_run_makes_is_refused_before_any_work",
        "test_an_output_that_another_run_makes_is_refused_before_any_work",
        "test_another_process_is_refused_until_the_first_is_gone",
    ),
    # tensors that the configuration does not name, or names otherwise
    6: (
        "test_tensors_that_the_config_does_not_name_are_refused",
        "test_wrong_folders_are_refused_by_name",
    ),
    # an adapter beside the model
    7: ("test_an_adapter_beside_the_model_is_refused",),
    # models that see later tokens
    8: ("test_models_that_see_later_tokens_are_refused",),
    # a weight that cannot be written, half-way
    9: ("test_a_weight_that_cannot_be_written_leaves_the_model_as_it_was",),
    # an interrupt half-way; weights loaded while an edit is applied
    10: (
        "test_an_interrupt_half_way_is_rolled_back",
        "test_weights_loaded_since_are_not_overwritten",
    ),
    # greedy whatever the checkpoint's settings say
    11: (
        "test_it_is_the_argmax_loop",
        "test_settings_of_the_checkpoint_change_nothing",
        "test_a_padding_token_in_the_prompt_is_seen",
    ),
    # half a .zst
    12: (
        "test_an_unfinished_frame_is_refused",
        "test_what_cannot_be_read_whole_is_refused_by_file_and_line",
    ),
    # byte order mark, hidden folder, lines of white space
    13: (
        "test_a_byte_order_mark_is_no_text",
        "test_lines_of_white_space_part_documents",
        "test_hidden_and_loose_files_beside_domains_are_not_read",
        "test_text_is_read_whole",
    ),
    # first row of a data set without text
    14: ("test_rows_without_text_are_passed_over_wherever_they_stand",),
    # no more of a data set than needed
    15: (
        "test_limit_stops_the_stream",
        "test_no_more_is_read_than_needed",
    ),
    # an even draw over sources
    16: (
        "test_limit_is_shared_by_the_sources",
        "test_text_is_drawn_evenly_from_the_sources_of_a_domain",
    ),
    # an edit that rounding drowns
    17: ("test_an_edit_that_rounding_drowns_is_refused",),
    # a manifest with an entry removed; YAML with a key twice
    18: (
        "test_a_manifest_made_anew_that_lists_other_files_is_refused",
        "test_a_key_that_stands_twice_is_refused",
        "test_a_recipe_with_a_key_twice_is_refused",
    ),
    # NaN in a weight
    19: ("test_weights_that_are_not_finite_are_refused_by_name",),
    # one line for whatever another library raises
    20: (
        "test_each_kind_through_each_command",
        "test_every_kind_is_explained",
        "test_token_ids_past_the_embedding_are_refused",
        "test_weights_without_values_and_quantised_ones_are_refused_by_name",
        "test_weights_without_values_are_refused_by_name",
        "test_a_layer_asked_for_more_than_a_wrap_has_is_named",
    ),
    # another's decomposition: the option that names its model
    21: ("test_another_is_refused_with_the_option_that_mends_it",),
    # an answer that ends at once
    22: (
        "test_an_end_at_once_is_said_and_the_template_offered",
        "test_chat_puts_the_template_around_the_prompt",
    ),
    # chats in a corpus
    23: (
        "test_openers_are_not_doubled",
        "test_a_template_with_bos_keeps_the_one_it_has",
    ),
    # the token that opens plain text
    24: (
        "test_the_opener_is_a_choice",
        "test_the_better_opener_is_named_where_another_is_used",
    ),
    # how much evidence
    25: ("test_how_much_evidence_is_measured",),
    # the memory of retained text
    26: (
        "test_pieces_and_logits_that_are_not_kept_change_nothing",
        "test_no_more_than_a_chunk_is_in_memory",
    ),
    # a targeted decomposition by bars of its kind
    27: ("test_a_whole_run_has_account_on_both_streams",),
    # the pick is measured
    28: ("test_each_stands_at_an_allowed_size_and_the_best_is_first",),
    # two runs in one run folder; a cut run goes on
    29: (
        "test_a_claimed_place_is_refused",
        "test_a_cut_run_goes_on_to_the_bit",
    ),
    # one policy of dtypes
    30: (
        "test_bf16_checkpoint_reports_what_rounding_costs",
        "test_memory_of_what_outlives_a_step_is_exact",
    ),
    # GGUF, pickles, no network
    31: (
        "test_a_gguf_folder_is_told_what_to_do",
        "test_pickled_weights_are_not_read",
        "test_refused_without_a_heavy_library",
    ),
    # artefacts that are signed and wrong
    32: ("test_faults_are_named_errors",),
    33: (
        "test_parts_that_were_removed_or_copied_are_refused",
        "test_a_file_that_the_manifest_does_not_list_is_refused_by_name",
        "test_tensors_that_are_not_finite_are_refused_by_name",
    ),
    # bombs, devices, pipes
    34: (
        "test_a_bomb_is_refused_in_little_memory",
        "test_what_is_no_file_is_refused_by_name",
        "test_drawn_faults_are_named_or_read",
    ),
    # two harvests in one run folder
    35: ("test_of_two_harvests_in_one_run_folder_the_second_is_refused",),
    # full disk; no permission
    36: (
        "test_a_full_disk_is_one_line",
        "test_a_read_only_directory_is_named_before_any_work",
    ),
    # kills
    37: (
        "test_harvest",
        "test_clean_removes_what_killed_writers_left_and_nothing_else",
        "test_clean_lists_first_and_then_removes",
    ),
    # the output's folder removed in mid-run
    38: ("test_a_folder_removed_during_the_work_is_said",),
    # a hostile label server
    39: (
        "test_a_server_that_asks_for_a_day_is_not_waited_for",
        "test_headers_and_bodies_that_drip_are_broken_off",
        "test_the_key_in_pieces_is_in_no_message",
        "test_an_endless_error_is_not_read_to_its_end",
    ),
}

# Kind of the twelve that were silently wrong → tests of variants that no report named, found by reading and trying; one test
# may hold several (its parameters).
MORE: dict[int, tuple[str, ...]] = {
    # own writer and own reader agree
    1: ("test_an_adapter_without_effect_is_refused_however_small_the_edit",),
    # code of the current folder
    2: (
        "test_no_pip_of_the_current_folder_runs",
        "test_every_child_is_started_apart_from_the_current_folder",
    ),
    # check, then act
    3: (
        "test_a_file_that_appears_at_an_output_during_the_work_is_left_as_it_is",
        "test_an_output_inside_an_artefact_is_refused_before_any_work",
        "test_what_is_broken_off_leaves_no_half_of_a_report",
        "test_a_report_that_is_replaced_keeps_nothing_of_the_old_one_and_what_is_not_its_own",
        "test_places_that_cannot_be_written_to_are_left_as_they_are",
        "test_results_with_a_link_out_of_their_folder_are_not_sent",
    ),
    # half of what lies there is read
    4: ("test_weights_that_lie_there_twice_are_refused",),
    # trust in a class name
    5: (
        "test_a_look_ahead_at_some_positions_alone_is_seen",
        "test_a_look_ahead_below_the_steps_of_a_half_precision_is_seen",
        "test_a_look_ahead_by_ids_is_seen_in_a_half_precision",
        "test_causal_models_pass_in_a_half_precision",
    ),
    # state without a transaction
    6: (
        "test_a_merge_in_place_that_stops_half_way_leaves_the_model_as_it_was",
        "test_a_wrap_that_stops_half_way_leaves_the_target_as_it_was",
        "test_a_line_that_a_full_disk_or_a_kill_cut_off_does_not_keep_a_run_from_going_on",
    ),
    # what surrounds a call decides
    7: (
        "test_a_callers_autocast_does_not_round_an_edit",
        "test_a_model_in_training_mode_is_refused",
    ),
    # structure guessed from names
    8: (
        "test_an_unembedding_that_the_logits_do_not_follow_is_refused",
        "test_an_unembedding_that_the_logits_follow_passes",
        "test_a_weight_shared_with_anything_is_no_site",
    ),
    # data lost
    9: (
        "test_what_is_passed_over_is_said_by_name_and_number",
        "test_files_without_a_split_beside_files_with_one_are_said",
        "test_a_place_with_nothing_else_is_refused_by_what_it_holds",
        "test_words_and_numbers_of_a_recipe_mean_what_they_say",
        "test_drawn_faults_are_named_or_read",
    ),
    # weak acceptance
    10: (
        "test_a_saved_buffer_with_nan_is_refused_by_name",
        "test_a_recipe_that_cannot_be",
    ),
    # nonsense with a valid hash
    11: (
        "test_a_manifest_that_is_none",
        "test_a_configuration_that_cannot_be",
        "test_tensors_that_are_none",
        "test_a_table_that_is_none",
        "test_transcoders_are_not_made_before_their_files_were_looked_at",
        "test_what_a_configuration_makes_of_a_forward_is_one_line",
    ),
    # reading without an end
    12: (
        "test_a_pipe_or_a_device_in_the_place_of_a_file_is_refused_at_once",
        "test_a_folder_or_a_pipe_in_the_place_of_a_file",
        "test_long_runs_of_blank_lines_take_no_time",
    ),
}
