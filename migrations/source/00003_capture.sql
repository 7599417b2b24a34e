-- +goose Up
-- Publications, and what of the application's tables is in them. Two publications are
-- needed because a table without replica identity must never be in one that publishes
-- updates or deletes: the application's UPDATE would fail at once.

-- +goose StatementBegin
create function rowbell.tables_without_identity(rel oid) returns setof regclass
language sql stable
set search_path = pg_catalog, pg_temp
as $$
	with part as (
		select c.oid, c.relreplident from pg_class c where c.oid = rel and c.relkind = 'r'
		union
		select c.oid, c.relreplident
		from pg_class p, pg_partition_tree(p.oid) t join pg_class c on c.oid = t.relid
		where p.oid = rel and p.relkind = 'p' and t.isleaf and c.relkind = 'r'
	)
	select part.oid::regclass from part
	where not case part.relreplident
		when 'f' then true
		when 'd' then exists (select from pg_index i where i.indrelid = part.oid and i.indisprimary and i.indimmediate and i.indisvalid)
		when 'i' then exists (select from pg_index i where i.indrelid = part.oid and i.indisreplident and i.indimmediate and i.indisvalid)
		else false
	end
	order by 1
$$;
-- +goose StatementEnd
comment on function rowbell.tables_without_identity(oid) is 'The table, or those of its partitions, whose UPDATE and DELETE would fail in a publication of all operations';

-- +goose StatementBegin
create function rowbell.ensure_publisher() returns text
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
	-- Roles belong to the whole cluster, so another database may be doing the same.
	if to_regrole('rowbell_publisher') is null
		and (select rolcreaterole or rolsuper from pg_roles where rolname = current_user) then
		begin
			create role rowbell_publisher nologin;
			comment on role rowbell_publisher is 'Rowbell: owns its publications. Who may capture tables is a member of it, and of the tables'' owner';
		exception when duplicate_object or unique_violation then
			null;
		end;
	end if;
	if to_regrole('rowbell_publisher') is null then
		return null;
	end if;
	if not pg_has_role(current_user, 'rowbell_publisher', 'usage') then
		begin
			execute format('grant rowbell_publisher to %I', current_user);
		exception when insufficient_privilege or unique_violation or internal_error then
			null;
		end;
	end if;
	if pg_has_role(current_user, (select nspowner from pg_namespace where nspname = 'rowbell'), 'usage') then
		grant usage on schema rowbell to rowbell_publisher;
		grant select on rowbell.setting to rowbell_publisher;
		grant select, insert on rowbell.captured_table to rowbell_publisher;
	end if;
	return case when pg_has_role(current_user, 'rowbell_publisher', 'usage') then 'rowbell_publisher' end;
end
$$;
-- +goose StatementEnd
comment on function rowbell.ensure_publisher() is 'Makes role rowbell_publisher where the caller may, and gives it what capturing needs. Returns its name if the caller is a member, else null';

-- +goose StatementBegin
create function rowbell.ensure_publication(name text, operations text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
	p pg_publication;
	publisher constant text := rowbell.ensure_publisher();
	granted boolean := false;
begin
	if octet_length(name) > 63 or name = '' then
		raise exception using errcode = 'invalid_name',
			message = format('%L cannot name a publication: it must have 1 to 63 bytes', name),
			hint = 'Set a shorter ROWBELL_PUBLICATION: at most 56 bytes, since another publication has _insert after the name.';
	end if;
	perform set_config('lock_timeout', '2s', true);
	select * into p from pg_publication where pubname = name;
	if not found then
		execute format('create publication %I with (publish = %L, publish_via_partition_root = true)', name, operations);
		execute format('comment on publication %I is %L', name, 'Rowbell: changes of captured tables. Tables come and go by rowbell.capture and rowbell.release. If it is dropped, the slot cannot go on');
	elsif not p.pubviaroot or operations is distinct from concat_ws(',', case when p.pubinsert then 'insert' end,
		case when p.pubupdate then 'update' end, case when p.pubdelete then 'delete' end, case when p.pubtruncate then 'truncate' end) then
		execute format('alter publication %I set (publish = %L, publish_via_partition_root = true)', name, operations);
	end if;
	if operations = 'insert' then
		if not exists (select from pg_publication_tables where pubname = name and schemaname = 'rowbell' and tablename = 'workflow_version') then
			execute format('alter publication %I add table only rowbell.workflow_version', name);
		end if;
		if not exists (select from pg_publication_tables where pubname = name and schemaname = 'rowbell' and tablename = 'captured_table') then
			execute format('alter publication %I add table only rowbell.captured_table', name);
		end if;
	end if;
	if p.oid is null and publisher is not null then
		-- The new owner of a publication must be able to create one.
		begin
			if not has_database_privilege(publisher, current_database(), 'create') then
				execute format('grant create on database %I to %I', current_database(), publisher);
				granted := true;
			end if;
			execute format('alter publication %I owner to %I', name, publisher);
			if granted then
				execute format('revoke create on database %I from %I', current_database(), publisher);
			end if;
		exception when insufficient_privilege then
			raise notice 'publication % stays with its maker: only a superuser or the owner of database % can give it to %', name, current_database(), publisher;
		end;
	end if;
end
$$;
-- +goose StatementEnd
comment on function rowbell.ensure_publication(text, text) is 'Makes or mends one publication';

-- +goose StatementBegin
create function rowbell.ensure_publications(name text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
	-- Several workers may start at once. Anybody may hold this lock: it is not waited for
	-- without end.
	perform set_config('lock_timeout', '2s', true);
	perform pg_advisory_xact_lock(hashtextextended('rowbell.capture', 0));
	perform rowbell.ensure_publication(name, 'insert,update,delete,truncate');
	perform rowbell.ensure_publication(name || '_insert', 'insert');
	update rowbell.setting set publication = name where publication <> name;
end
$$;
-- +goose StatementEnd
comment on function rowbell.ensure_publications(text) is 'Makes or mends the publications <name> and <name>_insert, and notes the name for rowbell.capture. A publication must exist before the slot that reads it';

-- +goose StatementBegin
create procedure rowbell.outside_transaction_block(what text)
language plpgsql
as $$
begin
	begin
		commit;
	exception when invalid_transaction_termination then
		-- Outside a block the complaint is about the subtransaction of this very handler. The
		-- procedure's own COMMIT still refuses where messages are not in English.
		if sqlerrm = 'invalid transaction termination' then
			raise exception using
				errcode = 'active_sql_transaction',
				message = what || ' cannot run inside a transaction block or a function',
				hint = 'Run the CALL by itself, outside BEGIN … COMMIT: it must commit between its steps.';
		end if;
	end;
end
$$;
-- +goose StatementEnd
comment on procedure rowbell.outside_transaction_block(text) is 'Refuses to go on inside a transaction block';

-- +goose StatementBegin
create procedure rowbell.cannot_lock(quoted text, what text)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
	blockers text;
begin
	select string_agg(format('pid %s (%s, %s)', l.pid, l.mode, coalesce(nullif(a.application_name, ''), 'no application name')), ', ')
	into blockers
	from pg_locks l left join pg_stat_activity a on a.pid = l.pid
	where l.locktype = 'relation' and l.database = (select d.oid from pg_database d where d.datname = current_database())
		and l.relation = to_regclass(quoted) and l.granted
		and l.mode in ('ShareUpdateExclusiveLock', 'ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock');
	raise exception using
		errcode = 'lock_not_available',
		message = format('%s of %s gave up after 2 s of waiting for a lock', what, quoted),
		detail = case when blockers is null then 'Another session held a lock on the table or the publication.'
			else format('The table is locked by %s.', blockers) end,
		hint = 'VACUUM, CREATE INDEX CONCURRENTLY, ALTER TABLE and other captures are in the way until they end. Run it again then.';
end
$$;
-- +goose StatementEnd
comment on procedure rowbell.cannot_lock(text, text) is 'Says which sessions a capture waited for in vain';

-- +goose StatementBegin
create procedure rowbell.capture(
	"table" text,
	tenant_column text default null,
	key_columns text[] default null,
	hidden text[] default null,
	redacted text[] default null,
	label text default null,
	publication text default null,
	renew boolean default false
)
language plpgsql
as $$
declare
	-- No SET clause (it would forbid COMMIT) and not SECURITY DEFINER: it can do what its
	-- caller can. The caller's search_path is used for the table's name only.
	rel oid := pg_catalog.to_regclass("table");
	c record;
	quoted text;      -- the table's name as SQL writes it
	pub text;         -- the publication of all operations
	target text;      -- the one of the two that the table belongs in
	other text;       -- the other one
	bare text[];      -- tables without replica identity: this one, or partitions of it
	in_target boolean;
	in_other boolean;
	was rowbell.captured_table;
	want rowbell.captured_table;
	problems text[] := '{}';
	bad text;
begin
	if rel is null then
		rel := pg_catalog.to_regclass('public.' || "table");
	end if;
	call rowbell.outside_transaction_block('rowbell.capture');
	perform set_config('search_path', 'pg_catalog, pg_temp', true), set_config('lock_timeout', '2s', true);

	-- Can it be captured at all?
	if rel is null then
		raise exception using errcode = 'undefined_table',
			message = format('there is no table %s', "table"),
			hint = 'Write its schema too if it is not in your search_path, and quote names as SQL does.';
	end if;
	select r.relname, n.nspname, r.relkind, r.relpersistence, r.relispartition, r.relowner, format('%I.%I', n.nspname, r.relname) as quoted
	into c
	from pg_class r join pg_namespace n on n.oid = r.relnamespace where r.oid = rel;
	quoted := c.quoted;
	bad := case
		when c.relkind in ('v', 'm') then 'is a view: capture the tables that it reads'
		when c.relkind = 'f' then 'is a foreign table: its changes are in the WAL of another server'
		when c.relkind not in ('r', 'p') then 'is not a table'
		when c.nspname = 'rowbell' then 'belongs to Rowbell'
		when c.nspname in ('pg_catalog', 'information_schema', 'pg_toast') or rel < 16384 then 'is a system table'
		when c.relpersistence = 't' then 'is a temporary table, which is not in the WAL'
		when c.relpersistence = 'u' then format('is unlogged, so it is not in the WAL; first run: ALTER TABLE %s SET LOGGED;', quoted)
		when c.relispartition then format('is a partition; capture %s, and all its partitions are', (
			select format('%I.%I', n.nspname, r.relname)
			from pg_partition_ancestors(rel) a join pg_class r on r.oid = a.relid join pg_namespace n on n.oid = r.relnamespace
			where not r.relispartition))
	end;
	if bad is not null then
		raise exception using errcode = 'wrong_object_type', message = format('%s cannot be captured: it %s', quoted, bad);
	end if;

	-- How was it captured, and how is it to be?
	select t.* into was from rowbell.captured_table t
	where t.schema_name = c.nspname and t.table_name = c.relname order by t.version desc limit 1;
	if was.released then
		was := null;
	end if;
	want.schema_name := c.nspname;
	want.table_name := c.relname;
	want.label := coalesce(capture.label, was.label, case when c.nspname = 'public' then c.relname else c.nspname || '.' || c.relname end);
	if want.label = '' or want.label like 'domain:%' or want.label like 'public.%' then
		raise exception using errcode = 'invalid_parameter_value',
			message = format('%L cannot be the label of %s: it must not be empty, nor start with domain: or public.', want.label, quoted);
	end if;
	if want.label <> was.label then
		raise exception using errcode = 'object_not_in_prerequisite_state',
			message = format('%s is captured as %s, and workflows name it so: it cannot become %s', quoted, was.label, want.label),
			hint = format('CALL rowbell.release(%L); then capture it with the other label, and change entity_type in the workflows.', quoted);
	end if;
	select format('%I.%I', t.schema_name, t.table_name) into bad
	from (select distinct on (x.schema_name, x.table_name) x.* from rowbell.captured_table x
		order by x.schema_name, x.table_name, x.version desc) t
	where t.label = want.label and not t.released and (t.schema_name, t.table_name) <> (want.schema_name, want.table_name);
	if found then
		raise exception using errcode = 'duplicate_object',
			message = format('%s cannot be captured as %s: %s has that label', quoted, want.label, bad),
			hint = 'Give it another one, with label => in the CALL.';
	end if;
	want.tenant_column := case
		when capture.tenant_column is not null then nullif(capture.tenant_column, '')
		when was.version is not null then was.tenant_column
		else (select s.tenant_column from rowbell.setting s join pg_attribute a on a.attname = s.tenant_column
			where a.attrelid = rel and a.attnum > 0 and not a.attisdropped)
	end;
	want.key_columns := coalesce(capture.key_columns, was.key_columns, (
		select array_agg(a.attname::text order by k.n)
		from pg_index i, unnest(i.indkey::int2[]) with ordinality as k (attnum, n), pg_attribute a
		where i.indexrelid = (select x.indexrelid from pg_index x where x.indrelid = rel and (x.indisprimary or x.indisreplident)
				order by x.indisprimary desc limit 1)
			and k.n <= i.indnkeyatts and a.attrelid = rel and a.attnum = k.attnum), '{}');
	want.hidden := coalesce(capture.hidden, was.hidden, '{}');
	want.redacted := coalesce(capture.redacted, was.redacted, '{}');
	if array_position(want.key_columns || want.hidden || want.redacted, null) is not null then
		raise exception using errcode = 'null_value_not_allowed', message = 'key_columns, hidden and redacted must not contain null';
	end if;
	select string_agg(distinct format('%I', col), ', ') into bad
	from unnest(want.tenant_column || want.key_columns || want.hidden || want.redacted) as col
	where col is not null and not exists (select from pg_attribute a
		where a.attrelid = rel and a.attnum > 0 and not a.attisdropped and a.attname = col);
	if bad is not null then
		raise exception using errcode = 'undefined_column',
			message = format('%s has no column %s', quoted, bad),
			hint = 'Columns are written as they are stored, without quotes.';
	end if;
	select string_agg(format('%I', col), ', ') into bad from unnest(want.hidden) as col
	where col = want.tenant_column or col = any (want.key_columns);
	if bad is not null then
		raise exception using errcode = 'invalid_parameter_value',
			message = format('%s of %s cannot be hidden: the tenant column and the key columns are needed for every change', bad, quoted),
			hint = 'Name other key_columns, or redact it instead.';
	end if;
	select array_agg(t::text) into bare from rowbell.tables_without_identity(rel) t;
	want.insert_only := bare is not null;

	-- Into which publication, and may the caller?
	pub := coalesce(capture.publication, (select s.publication from rowbell.setting s));
	target := pub || case when want.insert_only then '_insert' else '' end;
	other := pub || case when want.insert_only then '' else '_insert' end;
	-- Both must be there: captured_table itself comes through <name>_insert.
	select string_agg(x, ' and ') into bad from unnest(array[pub, pub || '_insert']) x
	where not exists (select from pg_publication p where p.pubname = x);
	if bad is not null then
		raise exception using errcode = 'undefined_object',
			message = format('there is no publication %s', bad),
			hint = format('rowbell run makes it when it starts; from SQL: SELECT rowbell.ensure_publications(%L);', pub);
	end if;
	in_target := exists (select from pg_publication_tables t
		where t.pubname = target and t.schemaname = c.nspname and t.tablename = c.relname);
	in_other := exists (select from pg_publication p join pg_publication_rel r on r.prpubid = p.oid
		where p.pubname = other and r.prrelid = rel);
	if not in_target and not pg_has_role(current_user, c.relowner, 'usage') then
		problems := problems || format('GRANT %s TO %I;', c.relowner::regrole, current_user);
	end if;
	problems := problems || array(
		select distinct format('GRANT %s TO %I;', p.pubowner::regrole, current_user) from pg_publication p
		where (p.pubname = target and not in_target or p.pubname = other and in_other)
			and not pg_has_role(current_user, p.pubowner, 'usage'));
	if not has_table_privilege('rowbell.captured_table', 'insert') then
		problems := problems || format('GRANT SELECT, INSERT ON rowbell.captured_table TO %I;', current_user);
	end if;
	if cardinality(problems) > 0 then
		raise exception using errcode = 'insufficient_privilege',
			message = format('role %I may not capture %s: it must be a member of the owners of table and publication, and insert into rowbell.captured_table', current_user, quoted),
			hint = 'As a superuser, or as who owns them, run: ' || array_to_string(problems, ' ');
	end if;

	if not in_target or in_other then
		begin
			if in_other then
				execute format('alter publication %I drop table only %s', other, quoted);
			end if;
			if not in_target then
				execute format('alter publication %I add table only %s', target, quoted);
			end if;
		exception
			when lock_not_available then
				call rowbell.cannot_lock(quoted, 'the capture');
			when duplicate_object then -- added by somebody else, this moment
				null;
		end;
	end if;
	commit;

	-- Only now can transactions start that are sure to be sent whole.
	perform set_config('search_path', 'pg_catalog, pg_temp', true), set_config('lock_timeout', '2s', true);
	if in_target and not in_other and not renew and was.version is not null
		and (was.tenant_column, was.key_columns, was.hidden, was.redacted, was.insert_only)
			is not distinct from (want.tenant_column, want.key_columns, want.hidden, want.redacted, want.insert_only) then
		raise notice '% is captured like this already', quoted;
		return;
	end if;
	perform pg_advisory_xact_lock(hashtextextended('rowbell.capture', 0));
	want.version := (select coalesce(max(t.version), 0) + 1 from rowbell.captured_table t
		where (t.schema_name, t.table_name) = (want.schema_name, want.table_name) or t.label = want.label);
	-- Our own xid is above that of every transaction that wrote before the table was
	-- published. A snapshot's xmax need not be: it is beyond what has ended, not beyond
	-- what runs.
	insert into rowbell.captured_table (schema_name, table_name, version, label, tenant_column, key_columns, hidden, redacted, insert_only, from_xid)
	values (want.schema_name, want.table_name, want.version, want.label, want.tenant_column, want.key_columns, want.hidden, want.redacted,
		want.insert_only, pg_current_xact_id());
	if want.insert_only then
		raise warning 'only inserts of % are captured: % has no replica identity', quoted, array_to_string(bare, ', ')
			using hint = 'For updates and deletes add a primary key, or run: '
				|| (select string_agg(format('ALTER TABLE %s REPLICA IDENTITY FULL;', b), ' ') from unnest(bare) b)
				|| ' Then capture it again.';
	end if;
end
$$;
-- +goose StatementEnd
comment on procedure rowbell.capture(text, text, text[], text[], text[], text, text, boolean) is 'Captures a table, or changes how it is captured: CALL rowbell.capture(''orders''). Options that are left out stay as they are; tenant_column '''' means none; renew takes a new from_xid. Not inside a transaction block';

-- +goose StatementBegin
create procedure rowbell.release("table" text, publication text default null)
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
		perform pg_advisory_xact_lock(hashtextextended('rowbell.capture', 0));
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
comment on procedure rowbell.release(text, text) is 'Ends the capture of a table: CALL rowbell.release(''orders''). Not inside a transaction block';

select rowbell.ensure_publisher();
