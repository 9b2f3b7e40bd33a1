-- From when on each patient has said a zip code, and a customer: what is said first covers the time before it.
SELECT patient_id,
    min(effective_at) FILTER (WHERE says ? 'zipCode') AS first_zip,
    min(effective_at) FILTER (WHERE says ->> 'customerId' IS NOT NULL) AS first_customer
FROM patient_states WHERE patient_id = ANY ($1::bigint[])
GROUP BY patient_id
