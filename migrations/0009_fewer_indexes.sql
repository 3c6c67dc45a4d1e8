-- +goose NO TRANSACTION
-- +goose Up

-- What each document pays for and nothing reads. River's two are for searching in a queue of
-- jobs; nobody searches ours, and each change of a job is entered into them.
drop index concurrently if exists river.river_job_args_index;
drop index concurrently if exists river.river_job_metadata_index;

-- The history is forgotten in its own order, which is that of age.
drop index concurrently if exists events_by_age;

-- A document that is not made yet has no copy.
-- contract: submissions.submissions_blob_of_some: the rule is that of submissions_blob, which knew it before
drop index concurrently if exists submissions_blob_of_some;
create unique index concurrently submissions_blob_of_some on submissions (blob_key) where blob_key is not null;
drop index concurrently if exists submissions_blob;

-- +goose Down
drop index concurrently if exists submissions_blob;
create unique index concurrently submissions_blob on submissions (blob_key);
drop index concurrently if exists submissions_blob_of_some;
drop index concurrently if exists events_by_age;
create index concurrently events_by_age on events (at);
create index concurrently if not exists river_job_args_index on river.river_job using gin (args);
create index concurrently if not exists river_job_metadata_index on river.river_job using gin (metadata);
