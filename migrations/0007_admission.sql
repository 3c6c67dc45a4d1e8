-- +goose NO TRANSACTION
-- +goose Up

-- What waits is counted, for each account and in all. Built beside the nodes that write: an
-- interrupted build leaves an index that is not valid, so it begins anew.
drop index concurrently if exists submissions_waiting;
create index concurrently submissions_waiting on submissions (account_id) where state = 'PENDING';
drop index concurrently if exists combined_submissions_waiting;
create index concurrently combined_submissions_waiting on combined_submissions (account_id) where state = 'PENDING';

-- +goose Down
drop index concurrently if exists submissions_waiting;
drop index concurrently if exists combined_submissions_waiting;
