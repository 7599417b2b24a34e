-- +goose Up
-- A secret that was sealed can be written again: update rowbell.secret set plain = '…'.
-- What was sealed goes, and a worker seals the new one. Without this the table's check
-- refuses such a row, and the error shows it to the client and to the server's log.

-- +goose StatementBegin
create function rowbell.replace_secret() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
	new.sealed := null;
	new.key_id := null;
	new.sealed_at := null;
	return new;
end
$$;
-- +goose StatementEnd
comment on function rowbell.replace_secret() is 'Trigger: a secret that is written in plain replaces what was sealed';
revoke execute on function rowbell.replace_secret() from public;

create trigger replace_secret before update of plain on rowbell.secret
	for each row when (new.plain is not null and new.sealed is not null)
	execute function rowbell.replace_secret();
alter table rowbell.secret enable always trigger replace_secret;
