-- One row per stretch of one liveness of a host, with the labels the host has now.
SELECT l.liveness, l.host, h.cluster_type, h.ring, h.region, l.started_at, l.ended_at
FROM host_transitions l
JOIN hosts h ON h.host_no = l.host_no
