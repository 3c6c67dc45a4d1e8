-- +goose Up

-- Buckets are told the MD5 of a file before they get it. Files of before have none: they are read for it once more.
alter table submissions add column md5 text;
alter table combined_submissions add column md5 text;

-- +goose Down
alter table submissions drop column md5;
alter table combined_submissions drop column md5;
