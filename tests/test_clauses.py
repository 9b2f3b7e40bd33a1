"""Where each clause of the law has its golden case: its expected value typed by hand, in a test named for the clause.

The law: rules 1 to 9, as enrich/judge.py and enrich/rank.py number them, "as of" a moment, and the messages. Cases
without a file stand in test_oracle.py, where the oracle and the product are both held to each; others name their file.

rule 1   one UTF-8 JSON object: test_what_is_not_one_utf8_json_object_is_malformed, test_blanks_around_the_object_do_no_harm
         NUL, lone surrogates, NaN, infinities: test_nul_lone_surrogates_nan_and_infinities_are_malformed_anywhere
         1 MiB, 64 levels: test_one_mebibyte_is_the_limit, test_sixty_four_levels_are_the_limit_the_outer_object_being_the_first
         the bytes are kept: test_the_payload_of_rules_1_to_4_is_the_bytes_as_given_and_none_is_kept_of_later_ones
rule 2   a known kind: test_a_type_other_than_reading_dot_a_known_kind_is_unknown
         before the payload's faults: test_a_record_without_a_type_is_unknown_whatever_else_is_wrong_with_it
rule 3   field path and rule, no value: test_an_invalid_reading_names_the_field_and_the_rule_and_no_value (test_judge.py)
         naming nobody: test_naming_nobody_is_invalid
         two devices or patients: test_saying_one_device_or_patient_and_another_is_invalid
rule 4   a day ahead: test_a_reading_may_be_a_day_ahead_of_its_receipt_and_no_more
         2001: test_a_reading_of_2001_is_plausible_and_none_before
         both are settings: test_both_limits_of_time_are_parameters
         unknown receipt: test_a_reading_of_unknown_receipt_is_held_against_the_moment_its_source_was_first_seen,
             test_of_unknown_receipt_the_first_sight_of_its_source_bounds_the_future_whenever_it_is_judged (test_judge.py)
rule 5   by id, identifiers, both: test_a_device_is_found_by_id_by_identifier_or_by_both
         by value, exactly: test_an_identifier_is_compared_exactly_and_by_value_alone
         for ever: test_an_identifier_belongs_for_ever_even_before_it_is_said_and_after_it_is_taken_away
         the smallest state, and its ties: test_an_identifier_belongs_to_the_device_whose_state_is_smallest,
             test_an_identifier_belongs_to_the_smallest_claim_whatever_order_they_are_told_in (test_store.py)
         of nobody: test_identifiers_of_nobody_are_ignored_beside_one_that_is_known
         two devices: test_naming_two_devices_is_a_mismatch_also_where_one_has_no_state
         nothing remains: test_identifiers_of_nobody_alone_name_an_unknown_device_even_beside_a_patient
         no state: test_a_device_without_any_state_is_unknown
rule 6   blocked as of receipt: test_a_device_decommissioned_as_of_its_receipt_is_refused,
             test_the_moment_of_receipt_decides_not_the_reading_timestamp
         the blocked set: test_the_blocked_statuses_are_a_parameter, test_other_statuses_known_or_not_do_not_block
         disabled: test_disabled_readings_are_refused_and_enabled_again_accepted, test_decommissioned_is_told_before_disabled
         before its first state: test_before_its_first_state_a_device_is_known_not_blocked_and_not_assigned
         unknown receipt: test_where_receipt_is_unknown_the_reading_timestamp_decides
rule 7   named, else the device's, else none: test_the_patient_is_the_named_one_else_the_devices_else_none
         as of the reading: test_the_devices_patient_is_as_of_the_reading_timestamp_not_the_receipt
         two customers: test_a_named_patient_of_another_customer_is_a_mismatch, test_an_unnamed_patient_is_never_a_mismatch,
             test_unknown_customers_are_never_a_mismatch
         as of receipt: test_the_devices_customer_is_as_of_receipt_and_does_not_cover_the_time_before,
             test_the_patients_customer_is_as_of_receipt_its_first_one_covering_the_time_before
         its first customer, ties and nulls: test_a_patients_first_known_customer_covers_a_null_said_before_it_but_none_said_after,
             test_of_two_first_customers_at_one_moment_the_smaller_covers_the_time_before_and_the_greater_holds_from_then_on
         unknown receipt: test_customers_are_as_of_the_reading_timestamp_where_receipt_is_unknown
rule 8   zip as of the reading: test_the_zip_is_as_of_the_reading_timestamp
         the first covers: test_the_first_state_that_says_a_zip_covers_the_time_before_it_whatever_was_said_before,
             test_of_two_first_zips_at_one_moment_the_smaller_covers_the_time_before_and_the_greater_holds_from_then_on
         blank says none: test_a_blank_zip_says_none_and_covers_the_time_before_it
         offset: test_the_patients_offset_is_their_zones_at_the_reading_timestamp, test_the_device_offset_is_never_filled_in
         no zone: test_there_is_no_zone_without_a_patient_a_state_a_zip_or_a_zone_of_the_zip
rule 9   the key: test_another_device_kind_moment_or_subject_is_another_reading, test_without_a_device_the_patient_is_the_key
         the rank, and its ties: test_the_first_in_rank_is_the_reading_in_whatever_order_they_come (test_judge.py),
             test_a_reading_of_unknown_receipt_comes_last, test_received_together_the_source_the_partition_and_the_offset_decide
         says the same: test_a_duplicate_says_the_same_measures_manual_and_device_offset
         as the present winner: test_every_other_is_held_against_the_present_winner_not_against_each_other
         at every moment: test_a_winner_taken_back_promotes_the_next_and_relabels_the_others (test_corrections.py),
             test_a_reading_gives_way_to_one_of_another_source_that_was_received_before_it (test_store.py)
again    the same record, the same content: test_the_same_record_delivered_again_changes_nothing_and_its_content_sent_again_is_another
         one canonical form: test_the_canonical_form_says_utc_canonical_units_and_nothing_that_was_not_said (test_judge.py)
as of    the greatest state, and its ties: test_the_greatest_state_counts
         field by field: test_an_absent_field_says_nothing_and_null_says_none
         one change: test_a_change_told_again_word_for_word_does_not_outrank_what_came_between,
             test_a_field_more_or_otherwise_is_another_change, test_without_an_explicit_effective_at_nothing_is_merged,
             test_the_earliest_recorded_at_counts_then_the_place
messages unknown fields, repeated keys: test_unknown_fields_and_the_envelopes_id_are_ignored, test_of_repeated_keys_the_last_counts
         each field of a reading: test_an_accepted_reading_has_every_column, test_every_kind_fills_its_own_columns_and_no_other,
             test_every_measure_has_its_type, test_a_required_measure_must_be_there_and_any_other_may_be_null
         each field of a state: test_a_device_state_says_every_field_as_told (test_judge.py),
             test_every_field_of_a_device_state_has_its_type, test_every_field_of_a_patient_state_has_its_type
         abroad: test_a_foreign_country_has_no_zone_and_is_as_of_the_reading_timestamp
         effectiveAt, recordedAt unsaid: test_from_when_a_state_holds_that_does_not_say_all_of_it (test_judge.py),
             test_in_a_file_status_and_disabled_count_only_from_when_it_was_recorded
         a tombstone, a bad state: test_a_tombstone_and_what_is_no_json_object_are_malformed,
             test_a_registry_message_has_the_limits_of_a_reading_and_of_repeated_keys_the_last_counts
         receivedAt: test_a_received_at_in_an_archive_is_a_time_or_nothing
numbers  int, int64, ids: test_an_int_is_an_int32_and_may_be_negative, test_an_id_is_a_positive_int64,
             test_the_duration_of_a_variability_is_an_int64_of_any_sign
         double: test_a_double_that_overflows_is_invalid_and_one_that_underflows_is_zero
         88.0 is 88: test_a_whole_number_may_be_written_as_a_double_where_doubles_still_tell_whole_numbers_apart (test_judge.py)
times    test_a_time_is_rfc_3339_cut_to_microseconds_and_kept_within_the_calendar, test_any_other_time_is_invalid
"""

import re
from pathlib import Path

HERE = Path(__file__).parent


def test_every_clause_names_a_golden_case_that_there_is() -> None:
    """In the file that stands behind it, or in test_oracle.py."""
    named = re.findall(r"(test_\w{9,})(?: \((test_\w+\.py)\))?(?=[,\s])", __doc__ or "")
    assert len(named) > 80
    lacking = [
        name
        for name, file in named
        if f"def {name}(" not in (HERE / (file or "test_oracle.py")).read_text(encoding="utf-8")
    ]
    assert not lacking
