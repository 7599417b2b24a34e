-- The roles under which Rowbell can be run with no more rights than it needs, for one
-- database. Run it before the first `rowbell migrate`, as a superuser (on a managed server
-- as its administrator), in the application's database; where ROWBELL_STATE_URL names
-- another database, there too. It may be run again at any time.
--
--     psql -v ON_ERROR_STOP=1 -d shop -f roles.sql
--     psql -d shop -c '\password rowbell_migrate' -c '\password rowbell_run'
--
--   rowbell_migrate  owns the schema rowbell. For `rowbell migrate`, grants.sql and
--                    `rowbell capture`: at each upgrade, not in between
--   rowbell_run      for `rowbell run`, with ROWBELL_NO_MIGRATE=true. It has REPLICATION,
--                    which is not little: whoever has it can read all WAL of the server,
--                    and so every change of every table
--   rowbell_tenant   a group, without login, of people who write workflows by SQL. Of which
--                    tenants, rowbell.sql_member says:
--                    grant rowbell_tenant to alice;
--                    insert into rowbell.sql_member (role_name, tenant_id) values ('alice', 'acme');
--   rowbell_acting   a group, without login, of who may take on rowbell_api (see below) by
--                    SET ROLE, and has none of its rights otherwise: rowbell_run
--   rowbell_operator a group, without login, of those who say which functions of the
--                    application workflows may call (rowbell.register_function). These run
--                    with the rights of rowbell_run, so grant it to whom you would trust
--                    with that role
--
-- Rowbell knows none of these names but the last. To use others, replace them in both files:
--
--     sed s/rowbell_run/bell_run/g
--
-- Two more are not among them: Rowbell's functions look for these by their names.
--   rowbell_publisher owns the publications, and who captures tables is its member.
--   rowbell_api is what Rowbell takes on for a request of one tenant: it sees the rows of
--                    the tenant that the transaction names. Who can take it on can name any
--                    tenant, so nobody else is to be its member

begin;

do $$
begin
	if to_regrole('rowbell_migrate') is null then
		create role rowbell_migrate login;
		comment on role rowbell_migrate is 'Rowbell: owns the schema rowbell; for rowbell migrate';
	end if;
	if to_regrole('rowbell_run') is null then
		create role rowbell_run login;
		comment on role rowbell_run is 'Rowbell: for rowbell run with ROWBELL_NO_MIGRATE=true';
	end if;
	if to_regrole('rowbell_tenant') is null then
		create role rowbell_tenant nologin;
		comment on role rowbell_tenant is 'Rowbell: who writes workflows by SQL is a member';
	end if;
	if to_regrole('rowbell_operator') is null then
		create role rowbell_operator nologin;
		comment on role rowbell_operator is 'Rowbell: who registers functions that workflows may call is a member';
	end if;
	if to_regrole('rowbell_publisher') is null then
		create role rowbell_publisher nologin;
		comment on role rowbell_publisher is 'Rowbell: owns its publications. Who may capture tables is a member of it, and of the tables'' owner';
	end if;

	if to_regrole('rowbell_api') is null then
		create role rowbell_api nologin;
		comment on role rowbell_api is 'Rowbell: takes it on for what the API does for a tenant, named by the transaction''s setting rowbell.tenant, or for all: *. Nobody else is to be a member';
	end if;
	if to_regrole('rowbell_acting') is null then
		create role rowbell_acting nologin noinherit;
		comment on role rowbell_acting is 'Rowbell: who may take on rowbell_api is a member. NOINHERIT, so that they have none of its rights before';
	end if;

	if to_regrole('rds_replication') is not null then
		grant rds_replication to rowbell_run;
	elsif not (select rolreplication from pg_catalog.pg_roles where rolname = 'rowbell_run') then
		alter role rowbell_run replication;
	end if;
end
$$;

-- So that it can give to rowbell_publisher the publications that it makes.
grant rowbell_publisher to rowbell_migrate;
-- So that the worker can act for a tenant. By way of a role with NOINHERIT, since what it
-- has not taken on it needs no rights of.
grant rowbell_api to rowbell_acting;
grant rowbell_acting to rowbell_run;
-- So that it can alter, in later migrations, the tables that rowbell_run owns (see grants.sql).
grant rowbell_run to rowbell_migrate;

do $$
declare
	f regprocedure;
begin
	execute format('grant connect on database %I to rowbell_migrate, rowbell_run, rowbell_tenant', current_database());
	-- For the schema and the publications. With grant option, since the new owner of a
	-- publication must have CREATE at that moment: Rowbell gives it and takes it away again.
	execute format('grant create on database %I to rowbell_migrate with grant option', current_database());
	-- Heartbeats, and rowbell.emit, set_actor and set_chain. Everybody may by default, until
	-- somebody revokes it from PUBLIC (see below).
	for f in
		select p.oid from pg_catalog.pg_proc p
		where p.proname = 'pg_logical_emit_message' and p.pronamespace = 'pg_catalog'::regnamespace
	loop
		begin
			execute format('grant execute on function %s to rowbell_migrate, rowbell_run', f);
		exception when insufficient_privilege then
			raise notice 'EXECUTE on % is left as it is: only a superuser can grant it', f;
		end;
	end loop;
end
$$;

commit;

-- Not done here, since other programs may need what it takes away:
--
--   Whoever may call pg_logical_emit_message can forge domain events and actors:
--     revoke execute on function pg_logical_emit_message(boolean, text, text),
--       pg_logical_emit_message(boolean, text, bytea) from public;
--   (17 and later: a fourth argument, boolean.)
--
--   `rowbell resync`, `adopt` and `uninstall` drop or make the slot. Run them as a
--   superuser, or give rowbell_migrate REPLICATION while they are needed:
--     alter role rowbell_migrate replication;
--
--   An installation that was made by one role, say rowbell, becomes rowbell_migrate's by
--   this, as a superuser, and then needs grants.sql. Stop the workers first; state and
--   slot stay.
--     reassign owned by rowbell to rowbell_migrate;
--     alter publication rowbell owner to rowbell_publisher;
--     alter publication rowbell_insert owner to rowbell_publisher;
