-- +goose Up

alter table templates add column expire_after integer, add column archived_at timestamptz;
-- Lists show those that are in use, or those that are not.
drop index templates_newest;
create index templates_newest on templates (account_id, (archived_at is not null), created_at desc, id desc);

-- A batch has no counts of its own: they are counted in its submissions, of which there
-- are a thousand at most, so that no row is written by all of them.
create table submission_batches (
    account_id text not null references accounts,
    id text not null,
    test boolean not null,
    metadata json not null,
    created_at timestamptz not null default now(),
    primary key (account_id, id)
);
create index submission_batches_newest on submission_batches (account_id, created_at desc, id desc);

alter table submissions
    add column source text not null default 'TEMPLATE' check (source in ('TEMPLATE', 'DRAFT', 'HTML', 'URL')),
    add column output text not null default 'PDF' check (output in ('PDF', 'PNG', 'JPEG', 'WEBP')),
    add column password_protected boolean not null default false,
    add column batch_id text,
    add column batch_index integer,
    add column preview boolean not null default false,
    add column finished_at timestamptz,
    add column expires_at timestamptz,
    add column expired_at timestamptz,
    add foreign key (account_id, batch_id) references submission_batches,
    add check ((batch_id is null) = (batch_index is null)),
    -- The record outlives the copy.
    drop constraint submissions_check,
    add constraint submissions_file check ((state = 'PROCESSED') = (sha256 is not null)),
    add constraint submissions_copy check ((sha256 is not null and expired_at is null) = (blob_key is not null));
update submissions set source = 'HTML' where template_id is null;
update submissions set finished_at = coalesce(processed_at, (failure->>'occurredAt')::timestamptz) where state <> 'PENDING';

-- Each filter of a list has an index in the list's order, so that a page costs the same
-- however many rows there are.
drop index submissions_newest, submissions_newest_test;
create index submissions_newest on submissions (account_id, created_at desc, id desc) where not preview;
create index submissions_newest_by_test on submissions (account_id, test, created_at desc, id desc) where not preview;
create index submissions_newest_by_template on submissions (account_id, template_id, created_at desc, id desc) where not preview and template_id is not null;
create index submissions_newest_by_state on submissions (account_id, state, created_at desc, id desc) where not preview;
create index submissions_previewed on submissions (account_id, state) where preview;
create index submissions_of_batch on submissions (account_id, batch_id, batch_index) include (state, finished_at) where batch_id is not null;
create index submissions_to_expire on submissions (expires_at) where expires_at is not null and expired_at is null;

-- The pairs of a submission's metadata, each as a hash of name and value, in the order
-- of lists. An inverted index (GIN) has no order: a page would read all that match.
create table submission_metadata (
    account_id text not null,
    pair bytea not null,
    at timestamptz not null, -- the submission's created_at
    submission_id text not null,
    primary key (account_id, pair, at, submission_id)
);

alter table submission_inputs
    add column url text,
    add column schema json,
    add column screenshot json,
    add column password bytea;

-- What calls with an idempotency key came to (R3.9). input is a signature of the
-- arguments, not the arguments: a password may be among them.
create table idempotency_keys (
    account_id text not null references accounts,
    test_only boolean not null,
    operation text not null,
    key text not null,
    input text not null,
    result_id text not null,
    created_at timestamptz not null default now(),
    primary key (account_id, test_only, operation, key)
);
create index idempotency_keys_by_age on idempotency_keys (created_at);

-- +goose Down
drop table idempotency_keys, submission_metadata;
alter table submission_inputs drop column url, drop column schema, drop column screenshot, drop column password;
delete from actions where submission_id in (select id from submissions where source in ('DRAFT', 'URL') or expired_at is not null or preview or output <> 'PDF');
delete from submission_inputs where submission_id in (select id from submissions where source in ('DRAFT', 'URL') or expired_at is not null or preview or output <> 'PDF');
delete from submissions where source in ('DRAFT', 'URL') or expired_at is not null or preview or output <> 'PDF';
drop index submissions_newest, submissions_newest_by_test, submissions_newest_by_template, submissions_newest_by_state, submissions_previewed, submissions_of_batch, submissions_to_expire;
alter table submissions
    drop constraint submissions_file, drop constraint submissions_copy,
    drop column source, drop column output, drop column password_protected, drop column batch_id, drop column batch_index, drop column preview,
    drop column finished_at, drop column expires_at, drop column expired_at,
    add constraint submissions_check check ((state = 'PROCESSED') = (blob_key is not null));
create index submissions_newest on submissions (account_id, created_at desc, id desc);
create index submissions_newest_test on submissions (account_id, created_at desc, id desc) where test;
drop table submission_batches;
drop index templates_newest;
create index templates_newest on templates (account_id, created_at desc, id desc);
alter table templates drop column expire_after, drop column archived_at;
