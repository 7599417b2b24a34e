-- +goose Up
-- What has ended lately is found by when it did, however old its change is. Rows come in
-- that order, so that a range of blocks has a narrow range of times: an index of these costs
-- an insert nothing that shows, where one of rows would cost 50 bytes and half a microsecond.

create index execution_settled on rowbell.execution using brin (settled_at) with (pages_per_range = 16, autosummarize = on);
create index delivery_ended_at on rowbell.delivery_ended using brin (ended_at) with (pages_per_range = 16, autosummarize = on);
