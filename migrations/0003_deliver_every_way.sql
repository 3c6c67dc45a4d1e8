-- +goose Up

-- What an integration does is in its settings: an option more is no migration more.
alter table integrations add column settings json, add column tested_at timestamptz, add column test_failure json, add column deleted_at timestamptz;
update integrations set settings = json_build_object('accessKeyId', access_key_id, 'region', region, 'bucket', bucket, 'endpoint', endpoint,
    'forcePathStyle', force_path_style, 'checksum', 'MD5', 'submissionPath', submission_path, 'testSubmissionPath', test_submission_path);
alter table integrations
    alter column settings set not null,
    drop column access_key_id, drop column region, drop column bucket, drop column endpoint,
    drop column force_path_style, drop column submission_path, drop column test_submission_path,
    drop constraint integrations_type_check, add check (type in ('AWS_S3', 'WEBHOOK'));
create index integrations_newest on integrations (account_id, created_at desc, id desc) where deleted_at is null;

-- Published versions of templates are copied as well, so they, too, have actions.
alter table template_versions add column pending_actions integer not null default 0, add column changes integer not null default 1;

-- Where a presigned upload goes, encrypted: with the inputs until the document is
-- processed, with the action until it is done.
alter table submission_inputs add column presigned_upload bytea;

alter table actions
    drop constraint actions_type_check, add check (type in ('AWS_S3_UPLOAD', 'PRESIGNED_UPLOAD', 'WEBHOOK')),
    alter column submission_id drop not null,
    add column template_version_id text,
    add foreign key (account_id, template_version_id) references template_versions,
    add check (num_nonnulls(submission_id, template_version_id) = 1),
    add column subject_id text not null generated always as (coalesce(submission_id, template_version_id)) stored,
    add column after_uploads boolean not null default false,
    add column tried_since timestamptz not null default now(),
    add column tried_before integer not null default 0,
    add column attempted_at timestamptz,
    add column presigned_upload bytea;
update actions set tried_since = created_at, attempted_at = case when attempts > 0 then updated_at end;
drop index actions_of_submission;
create index actions_of_subject on actions (account_id, subject_id);
create index actions_newest on actions (account_id, created_at desc, id desc);
create index actions_newest_of_integration on actions (account_id, integration_id, created_at desc, id desc);
-- Health is that of the newest attempt.
create index actions_attempted on actions (account_id, integration_id, attempted_at desc) where attempted_at is not null;
-- What is to be settled or retried, which is little among all that is done.
create index actions_not_processed on actions (account_id, integration_id, state, id) where state <> 'PROCESSED';

-- Events name what they are about by another word from now on; the history of a day
-- is not worth a translation.
truncate events;
alter table events rename column document_id to subject_id;

-- +goose Down
delete from actions where submission_id is null or type <> 'AWS_S3_UPLOAD';
delete from actions where integration_id in (select id from integrations where type <> 'AWS_S3');
delete from integrations where type <> 'AWS_S3';
truncate events;
alter table events rename column subject_id to document_id;
alter table actions drop column subject_id, drop column template_version_id, drop column after_uploads, drop column tried_since, drop column tried_before,
    drop column attempted_at, drop column presigned_upload, alter column submission_id set not null,
    drop constraint actions_type_check, add check (type in ('AWS_S3_UPLOAD'));
create index actions_of_submission on actions (account_id, submission_id);
alter table submission_inputs drop column presigned_upload;
alter table template_versions drop column pending_actions, drop column changes;
alter table integrations drop constraint integrations_type_check, add check (type in ('AWS_S3')),
    add column access_key_id text, add column region text, add column bucket text, add column endpoint text,
    add column force_path_style boolean, add column submission_path text, add column test_submission_path text;
update integrations set access_key_id = settings->>'accessKeyId', region = settings->>'region', bucket = settings->>'bucket',
    endpoint = coalesce(settings->>'endpoint', ''), force_path_style = coalesce((settings->>'forcePathStyle')::boolean, false),
    submission_path = settings->>'submissionPath', test_submission_path = coalesce(settings->>'testSubmissionPath', '');
alter table integrations alter column access_key_id set not null, alter column region set not null, alter column bucket set not null,
    alter column endpoint set not null, alter column force_path_style set not null, alter column submission_path set not null,
    alter column test_submission_path set not null, drop column settings, drop column tested_at, drop column test_failure, drop column deleted_at;
