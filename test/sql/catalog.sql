-- What the extension is made of.

-- everything is in schema evilnet, but for what has no schema
SELECT pg_describe_object(classid, objid, objsubid) AS outside
FROM pg_depend, LATERAL pg_identify_object(classid, objid, objsubid) o
WHERE refclassid = 'pg_extension'::regclass AND deptype = 'e'
	AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'evilnet')
	AND schema IS DISTINCT FROM 'evilnet'
ORDER BY 1;

-- every function, table, view and column says what it is
CREATE VIEW members AS
	SELECT classid, objid
	FROM pg_depend
	WHERE refclassid = 'pg_extension'::regclass AND deptype = 'e'
		AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'evilnet');
SELECT o.type, o.identity AS without_comment
FROM members, LATERAL pg_identify_object(classid, objid, 0) o
WHERE o.type NOT IN ('schema', 'sequence', 'type', 'composite type', 'index', 'trigger', 'policy', 'table constraint', 'default value')
	AND o.identity NOT LIKE 'evilnet.%[]'
	AND obj_description(objid, classid::regclass::name) IS NULL
UNION ALL
SELECT 'column', format('%s.%s', a.attrelid::regclass, a.attname)
FROM members
	JOIN pg_class c ON classid = 'pg_class'::regclass AND c.oid = objid AND c.relkind IN ('r', 'v')
	JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE col_description(a.attrelid, a.attnum) IS NULL
ORDER BY 1, 2;

-- nothing that runs with its owner's rights is for everybody, or can be led astray by search_path
SELECT p.oid::regprocedure AS for_everybody
FROM members JOIN pg_proc p ON classid = 'pg_proc'::regclass AND p.oid = objid
WHERE p.prosecdef AND has_function_privilege('public', p.oid, 'EXECUTE')
ORDER BY 1;
SELECT p.oid::regprocedure AS without_search_path
FROM members JOIN pg_proc p ON classid = 'pg_proc'::regclass AND p.oid = objid
WHERE (p.prosecdef OR p.prorettype IN ('trigger'::regtype, 'event_trigger'::regtype) AND p.prolang <> (SELECT oid FROM pg_language WHERE lanname = 'c'))
	AND NOT coalesce(p.proconfig::text LIKE '%search_path=pg_catalog, pg_temp%', false)
ORDER BY 1;

-- what everybody may do with the tables and views
SELECT c.relname, string_agg(a.privilege_type, ', ' ORDER BY a.privilege_type) AS public_may, bool_or(c.relrowsecurity) AS row_policy
FROM members
	JOIN pg_class c ON classid = 'pg_class'::regclass AND c.oid = objid AND c.relkind IN ('r', 'v')
	LEFT JOIN LATERAL aclexplode(c.relacl) a ON a.grantee = 0
GROUP BY c.relname
ORDER BY c.relname COLLATE "C";

-- tables of the user's rows are dumped, the built-in rows are not
SELECT t.relation::regclass, t.condition
FROM pg_extension e, unnest(e.extconfig, e.extcondition) t(relation, condition)
WHERE e.extname = 'evilnet'
ORDER BY t.relation::regclass::text COLLATE "C";

-- looking at the statistics is cheap enough not to be compiled
CREATE FUNCTION cost(query text) RETURNS float8 LANGUAGE plpgsql AS $$
DECLARE
	plan json;
BEGIN
	EXECUTE 'EXPLAIN (FORMAT json) ' || query INTO plan;
	RETURN plan #>> '{0,Plan,Total Cost}';
END $$;
SELECT cost('SELECT * FROM evilnet.stat_stream') < current_setting('jit_above_cost')::float8 AS cheap;

DROP FUNCTION cost;
DROP VIEW members;
