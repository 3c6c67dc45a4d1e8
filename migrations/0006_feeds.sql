-- +goose Up

-- Where the history was written, to recognise a database that was put back to an older
-- state or moved; and up to which position it has been forgotten.
alter table installation
    add column origin text not null default '',
    add column forgotten_xid xid8 not null default '0',
    add column forgotten_id bigint not null default 0;

-- The history is read account by account as well, in its order.
alter table events drop constraint events_pkey, add primary key (account_id, xid, id);

-- +goose Down
alter table events drop constraint events_pkey, add primary key (account_id, id);
alter table installation drop column origin, drop column forgotten_xid, drop column forgotten_id;
