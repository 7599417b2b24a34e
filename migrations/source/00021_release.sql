-- +goose Up
-- A release looks for the capture when it has the lock of captures: before, it went by what it
-- saw without, and could leave a table captured that isn't published.
-- +goose StatementBegin
create or replace procedure rowbell.release("table" text, publication text default null)
language plpgsql
as $$
declare
	rel oid := pg_catalog.to_regclass("table");
	quoted text;
	was rowbell.captured_table;
	pub text;
	target text;
	problems text[] := '{}';
	n integer;
begin
	if rel is null then
		rel := pg_catalog.to_regclass('public.' || "table");
	end if;
	call rowbell.outside_transaction_block('rowbell.release');
	perform set_config('search_path', 'pg_catalog, pg_temp', true), set_config('lock_timeout', '2s', true);
	quoted := coalesce((select format('%I.%I', n.nspname, r.relname) from pg_class r join pg_namespace n on n.oid = r.relnamespace
		where r.oid = rel), "table");
	-- A capture that is just about to end, or whose commit waits for a standby, is waited for:
	-- its row would not be seen.
	perform pg_advisory_xact_lock(hashtextextended('rowbell.capture', 0));
	-- A label will do as well, since the table may be gone.
	select t.* into was
	from (select distinct on (x.schema_name, x.table_name) x.* from rowbell.captured_table x
		order by x.schema_name, x.table_name, x.version desc) t
	where not t.released and (format('%I.%I', t.schema_name, t.table_name) = quoted or rel is null and t.label = "table");
	pub := coalesce(release.publication, (select s.publication from rowbell.setting s));
	if was.version is null and (quoted like 'rowbell.%' or not exists (
		select from pg_publication p join pg_publication_rel r on r.prpubid = p.oid
		where p.pubname in (pub, pub || '_insert') and r.prrelid = rel)) then
		raise exception using errcode = 'no_data_found',
			message = format('%s is not captured', "table"),
			hint = 'SELECT DISTINCT label FROM rowbell.captured_table; shows what is or was.';
	end if;
	problems := array(
		select distinct format('GRANT %s TO %I;', p.pubowner::regrole, current_user)
		from pg_publication p join pg_publication_rel r on r.prpubid = p.oid
		where p.pubname in (pub, pub || '_insert') and r.prrelid = rel and not pg_has_role(current_user, p.pubowner, 'usage'));
	if was.version is not null and not has_table_privilege('rowbell.captured_table', 'insert') then
		problems := problems || format('GRANT SELECT, INSERT ON rowbell.captured_table TO %I;', current_user);
	end if;
	if cardinality(problems) > 0 then
		raise exception using errcode = 'insufficient_privilege',
			message = format('role %I may not release %s: it must be a member of the owner of the publication, and insert into rowbell.captured_table', current_user, quoted),
			hint = 'As a superuser, or as who owns them, run: ' || array_to_string(problems, ' ');
	end if;
	if was.version is not null then
		n := (select coalesce(max(t.version), 0) + 1 from rowbell.captured_table t
			where (t.schema_name, t.table_name) = (was.schema_name, was.table_name) or t.label = was.label);
		insert into rowbell.captured_table (schema_name, table_name, version, label, tenant_column, key_columns, hidden, redacted, insert_only, released, from_xid)
		values (was.schema_name, was.table_name, n, was.label, was.tenant_column, was.key_columns, was.hidden, was.redacted, was.insert_only, true,
			pg_current_xact_id());
	end if;
	-- From this commit on nothing of the table counts, whatever is still sent.
	commit;
	perform set_config('search_path', 'pg_catalog, pg_temp', true), set_config('lock_timeout', '2s', true);
	begin
		for target in
			select p.pubname from pg_publication p join pg_publication_rel r on r.prpubid = p.oid
			where p.pubname in (pub, pub || '_insert') and r.prrelid = rel
		loop
			execute format('alter publication %I drop table only %s', target, quoted);
		end loop;
	exception when lock_not_available then
		call rowbell.cannot_lock(quoted, 'the release');
	end;
end
$$;
-- +goose StatementEnd
