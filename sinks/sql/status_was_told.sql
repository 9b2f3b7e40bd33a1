-- Whether a topic or a file ever said this status of a device that was ever said to be the customer's.
SELECT EXISTS (
    SELECT FROM device_states d JOIN sources s USING (source_id)
    WHERE d.says ->> 'currentStatus' = $2 AND s.source <> 'api'
        AND d.device_id IN (SELECT device_id FROM device_states WHERE says ->> 'customerId' = $1)
)
