-- +goose Up

-- PDFs that callers bring, to be combined.
create table uploads (
    account_id text not null references accounts,
    id text not null,
    test boolean not null,
    filename text not null,
    content_type text not null,
    byte_size bigint not null,
    sha256 text,
    page_count integer,
    blob_key text,
    created_at timestamptz not null default now(),
    received_at timestamptz,
    expires_at timestamptz not null,
    expired_at timestamptz,
    primary key (account_id, id),
    check ((received_at is not null and expired_at is null) = (blob_key is not null))
);
create unique index uploads_blob on uploads (blob_key);
create index uploads_to_expire on uploads (expires_at) where expired_at is null;

-- waiting is how many of the documents among the sources are PENDING. It is counted down
-- by the transactions that finish them, so that exactly one of these finds itself last.
create table combined_submissions (
    account_id text not null references accounts,
    id text not null,
    state text not null check (state in ('PENDING', 'PROCESSED', 'FAILED')),
    test boolean not null,
    metadata json not null,
    waiting integer not null check (waiting >= 0),
    content_type text,
    byte_size bigint,
    page_count integer,
    sha256 text,
    password_protected boolean not null default false,
    blob_key text,
    failure json,
    created_at timestamptz not null default now(),
    processed_at timestamptz,
    processing_time_ms integer,
    finished_at timestamptz,
    expires_at timestamptz,
    expired_at timestamptz,
    pending_actions integer not null default 0,
    revision integer not null default 1,
    changes integer not null default 1,
    primary key (account_id, id),
    constraint combined_submissions_file check ((state = 'PROCESSED') = (sha256 is not null)),
    constraint combined_submissions_copy check ((sha256 is not null and expired_at is null) = (blob_key is not null)),
    constraint combined_submissions_failure check ((state = 'FAILED') = (failure is not null))
);
create unique index combined_submissions_blob on combined_submissions (blob_key);
create index combined_submissions_newest on combined_submissions (account_id, created_at desc, id desc);
create index combined_submissions_newest_by_test on combined_submissions (account_id, test, created_at desc, id desc);
create index combined_submissions_newest_by_state on combined_submissions (account_id, state, created_at desc, id desc);
create index combined_submissions_to_expire on combined_submissions (expires_at) where expires_at is not null and expired_at is null;

create table combined_submission_metadata (
    account_id text not null,
    pair bytea not null,
    at timestamptz not null, -- the combined submission's created_at
    combined_submission_id text not null,
    primary key (account_id, pair, at, combined_submission_id)
);

create table combined_submission_inputs (
    account_id text not null,
    combined_submission_id text not null,
    presigned_upload bytea,
    password bytea,
    primary key (account_id, combined_submission_id),
    foreign key (account_id, combined_submission_id) references combined_submissions
);

-- What a combined submission is merged from, in order. document_id is a submission or a
-- combined submission; with a template's version, the submission that was made of it
-- for this part, which is deleted once it has been merged.
create table combined_sources (
    account_id text not null,
    combined_submission_id text not null,
    index integer not null,
    document_id text,
    template_version_id text,
    upload_id text,
    url text, -- without its query
    address bytea, -- the whole of it, encrypted, until it is fetched
    primary key (account_id, combined_submission_id, index),
    foreign key (account_id, combined_submission_id) references combined_submissions,
    foreign key (account_id, template_version_id) references template_versions,
    foreign key (account_id, upload_id) references uploads,
    check (num_nonnulls(document_id, upload_id, url) = 1)
);
create index combined_sources_of_document on combined_sources (account_id, document_id) where document_id is not null;
create index combined_sources_of_upload on combined_sources (account_id, upload_id) where upload_id is not null;

-- subject_id is generated of all that can be one, so it is made anew.
alter table actions
    drop column subject_id,
    add column combined_submission_id text,
    add foreign key (account_id, combined_submission_id) references combined_submissions,
    drop constraint actions_check1,
    add constraint actions_of_one check (num_nonnulls(submission_id, combined_submission_id, template_version_id) = 1),
    add column subject_id text not null generated always as (coalesce(submission_id, combined_submission_id, template_version_id)) stored;
create index actions_of_subject on actions (account_id, subject_id);

-- +goose Down
delete from actions where combined_submission_id is not null;
delete from events where subject_id like 'com\_%';
alter table actions
    drop column subject_id,
    drop constraint actions_of_one,
    drop column combined_submission_id,
    add constraint actions_check1 check (num_nonnulls(submission_id, template_version_id) = 1),
    add column subject_id text not null generated always as (coalesce(submission_id, template_version_id)) stored;
create index actions_of_subject on actions (account_id, subject_id);
drop table combined_sources, combined_submission_inputs, combined_submission_metadata, combined_submissions, uploads;
