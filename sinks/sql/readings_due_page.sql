-- Where some of the readings lie that were taken before a moment: as the table lies, so that no page is read twice.
SELECT ctid AS place FROM readings WHERE ctid > $2::tid AND reading_timestamp < $1 LIMIT $3
