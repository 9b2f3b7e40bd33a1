-- Archives whose name begins so; two are enough to know that it is not one.
SELECT source FROM sources WHERE starts_with(source, $1) ORDER BY source LIMIT 2
