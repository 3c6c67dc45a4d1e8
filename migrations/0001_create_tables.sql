-- +goose Up

-- What belongs to this installation as a whole. epoch names the history that cursors
-- point into; key_check proves that a node has the right secret key.
create table installation (
    one boolean primary key default true check (one),
    epoch text not null default gen_random_uuid()::text,
    key_check bytea
);
insert into installation default values;

create table accounts (
    id text primary key,
    name text not null,
    created_at timestamptz not null default now()
);

create table api_tokens (
    account_id text not null references accounts,
    id text not null,
    name text not null,
    environment text not null check (environment in ('LIVE', 'TEST')),
    scope text not null check (scope in ('READ', 'WRITE', 'ADMIN')),
    secret_hash bytea not null unique,
    hint text not null,
    created_at timestamptz not null default now(),
    last_used_at timestamptz,
    expires_at timestamptz,
    revoked_at timestamptz,
    primary key (account_id, id)
);

create table templates (
    account_id text not null references accounts,
    id text not null,
    name text not null,
    description text not null default '',
    draft json not null,
    latest_version integer not null default 0,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    primary key (account_id, id)
);
create index templates_newest on templates (account_id, created_at desc, id desc);

create table template_versions (
    account_id text not null,
    id text not null,
    template_id text not null,
    number integer not null,
    content json not null,
    published_at timestamptz not null default now(),
    primary key (account_id, id),
    unique (account_id, template_id, number),
    foreign key (account_id, template_id) references templates
);

create table integrations (
    account_id text not null references accounts,
    id text not null,
    type text not null check (type in ('AWS_S3')),
    name text not null,
    enabled boolean not null,
    applies_to text not null check (applies_to in ('LIVE', 'TEST', 'LIVE_AND_TEST')),
    access_key_id text not null,
    secret bytea not null,
    secret_set_at timestamptz not null,
    region text not null,
    bucket text not null,
    endpoint text not null,
    force_path_style boolean not null,
    submission_path text not null,
    test_submission_path text not null,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    primary key (account_id, id)
);

create table submissions (
    account_id text not null references accounts,
    id text not null,
    state text not null check (state in ('PENDING', 'PROCESSED', 'INVALID_DATA', 'FAILED')),
    test boolean not null,
    template_id text,
    template_version_id text,
    template_version_number integer,
    template_name text,
    metadata json not null,
    content_type text,
    byte_size bigint,
    page_count integer,
    sha256 text,
    blob_key text,
    failure json,
    created_at timestamptz not null default now(),
    processed_at timestamptz,
    processing_time_ms integer,
    pending_actions integer not null default 0,
    revision integer not null default 1,
    changes integer not null default 1,
    primary key (account_id, id),
    foreign key (account_id, template_id) references templates,
    foreign key (account_id, template_version_id) references template_versions,
    check ((state = 'PROCESSED') = (blob_key is not null)),
    check ((state in ('FAILED', 'INVALID_DATA')) = (failure is not null))
);
create index submissions_newest on submissions (account_id, created_at desc, id desc);
create unique index submissions_blob on submissions (blob_key);
create index submissions_newest_test on submissions (account_id, created_at desc, id desc) where test;

-- What a submission is made of, apart from the record: large, read only to render,
-- and gone at expiry, when the record stays.
create table submission_inputs (
    account_id text not null,
    submission_id text not null,
    html text,
    css text,
    header_html text,
    footer_html text,
    page json not null,
    data json,
    primary key (account_id, submission_id),
    foreign key (account_id, submission_id) references submissions
);

create table actions (
    account_id text not null,
    id text not null,
    type text not null check (type in ('AWS_S3_UPLOAD')),
    state text not null check (state in ('PENDING', 'PROCESSED', 'FAILED')),
    integration_id text,
    submission_id text not null,
    test boolean not null,
    destination text not null default '',
    attempts integer not null default 0,
    next_attempt_at timestamptz,
    receipt json,
    failure json,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    revision integer not null default 1,
    primary key (account_id, id),
    foreign key (account_id, submission_id) references submissions,
    foreign key (account_id, integration_id) references integrations,
    check ((state = 'PROCESSED') = (receipt is not null))
);
create index actions_of_submission on actions (account_id, submission_id);

-- The history: one row for each committed change of a document or of an action of
-- its. Rows are written by the transaction that makes the change, and read in the
-- order of (xid, id) below the oldest transaction still open: that is the order in
-- which they become visible, which the order of id alone is not.
create table events (
    account_id text not null,
    id bigint generated always as identity,
    xid xid8 not null default pg_current_xact_id(),
    document_id text not null,
    action_id text,
    test boolean not null,
    body json not null,
    at timestamptz not null default clock_timestamp(),
    primary key (account_id, id)
);
create index events_in_commit_order on events (xid, id);
create index events_by_age on events (at);

-- +goose Down
drop table events, actions, submission_inputs, submissions, integrations, template_versions, templates, api_tokens, accounts, installation;
