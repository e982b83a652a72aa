-- Users of a ClickHouse server: who sets up, who writes, who reads, and who reads of one tenant only. Run it again after an
-- upgrade that brought tables; every statement may meet its own result:
--
--   clickhouse-client --user admin --queries-file deploy/clickhouse/roles.sql
--
-- Then make users of your own and grant them a role:
--   CREATE USER stages IDENTIFIED BY '...' DEFAULT ROLE aftermath_writer;       for `aftermath run`
--   CREATE USER ines IDENTIFIED BY '...' DEFAULT ROLE aftermath_analyst SETTINGS PROFILE aftermath_analyst;
--   CREATE USER acme IDENTIFIED BY '...' DEFAULT ROLE aftermath_analyst_of_acme SETTINGS PROFILE aftermath_analyst;
-- For another tenant copy the last part with its name. With a cluster write ON CLUSTER after each name, or keep users
-- in Keeper. compose has a user of its own for Grafana: reader.xml. Views run with the rights of who asks.

-- `aftermath setup`: the schema.
CREATE ROLE IF NOT EXISTS aftermath_setup;
GRANT CREATE DATABASE, CREATE TABLE, CREATE VIEW, DROP VIEW, ALTER TABLE, SELECT, INSERT ON aftermath.* TO aftermath_setup;

-- `aftermath run` and what people do by command (incidents mark): rows in, nothing else.
CREATE ROLE IF NOT EXISTS aftermath_writer;
GRANT SELECT, INSERT ON aftermath.* TO aftermath_writer;

-- People and dashboards. readonly 2 and not 1: drivers send settings along; the constraints hold what they may not lift.
CREATE SETTINGS PROFILE IF NOT EXISTS aftermath_analyst SETTINGS
    readonly = 2,
    max_execution_time = 60 MIN 1 MAX 60,
    max_memory_usage = 4000000000 MIN 1 MAX 4000000000,
    max_result_rows = 1000000 MIN 1 MAX 1000000,
    result_overflow_mode = 'break' CONST;
CREATE ROLE IF NOT EXISTS aftermath_analyst;
GRANT SELECT ON aftermath.* TO aftermath_analyst;

-- One tenant's analysts. Previews of unreadable messages, and limits, have no tenant, so they are not theirs to see.
CREATE ROLE IF NOT EXISTS aftermath_analyst_of_acme;
GRANT SELECT ON aftermath.* TO aftermath_analyst_of_acme;
REVOKE SELECT ON aftermath.dead_letters FROM aftermath_analyst_of_acme;
REVOKE SELECT ON aftermath.dead_letter_replays FROM aftermath_analyst_of_acme;
REVOKE SELECT ON aftermath.limits_loosened FROM aftermath_analyst_of_acme;

CREATE QUOTA IF NOT EXISTS aftermath_analyst KEYED BY user_name
    FOR INTERVAL 1 hour MAX queries = 2000, read_rows = 20000000000, execution_time = 3600
    TO aftermath_analyst, aftermath_analyst_of_acme;

-- A table with a policy shows nothing to whom no policy covers: the second of each pair is for everybody else.
CREATE ROW POLICY IF NOT EXISTS aftermath_acme ON aftermath.agent_traces FOR SELECT USING tenant = 'acme' TO aftermath_analyst_of_acme;
CREATE ROW POLICY IF NOT EXISTS aftermath_all ON aftermath.agent_traces FOR SELECT USING 1 TO ALL EXCEPT aftermath_analyst_of_acme;
CREATE ROW POLICY IF NOT EXISTS aftermath_acme ON aftermath.system_metrics FOR SELECT USING tenant = 'acme' TO aftermath_analyst_of_acme;
CREATE ROW POLICY IF NOT EXISTS aftermath_all ON aftermath.system_metrics FOR SELECT USING 1 TO ALL EXCEPT aftermath_analyst_of_acme;
CREATE ROW POLICY IF NOT EXISTS aftermath_acme ON aftermath.cluster_events FOR SELECT USING tenant = 'acme' TO aftermath_analyst_of_acme;
CREATE ROW POLICY IF NOT EXISTS aftermath_all ON aftermath.cluster_events FOR SELECT USING 1 TO ALL EXCEPT aftermath_analyst_of_acme;
CREATE ROW POLICY IF NOT EXISTS aftermath_acme ON aftermath.agent_usage FOR SELECT USING tenant = 'acme' TO aftermath_analyst_of_acme;
CREATE ROW POLICY IF NOT EXISTS aftermath_all ON aftermath.agent_usage FOR SELECT USING 1 TO ALL EXCEPT aftermath_analyst_of_acme;
CREATE ROW POLICY IF NOT EXISTS aftermath_acme ON aftermath.signals FOR SELECT USING tenant = 'acme' TO aftermath_analyst_of_acme;
CREATE ROW POLICY IF NOT EXISTS aftermath_all ON aftermath.signals FOR SELECT USING 1 TO ALL EXCEPT aftermath_analyst_of_acme;
CREATE ROW POLICY IF NOT EXISTS aftermath_acme ON aftermath.incidents FOR SELECT USING tenant = 'acme' TO aftermath_analyst_of_acme;
CREATE ROW POLICY IF NOT EXISTS aftermath_all ON aftermath.incidents FOR SELECT USING 1 TO ALL EXCEPT aftermath_analyst_of_acme;
CREATE ROW POLICY IF NOT EXISTS aftermath_acme ON aftermath.incident_revisions FOR SELECT USING tenant = 'acme' TO aftermath_analyst_of_acme;
CREATE ROW POLICY IF NOT EXISTS aftermath_all ON aftermath.incident_revisions FOR SELECT USING 1 TO ALL EXCEPT aftermath_analyst_of_acme;
CREATE ROW POLICY IF NOT EXISTS aftermath_acme ON aftermath.incident_timeline FOR SELECT USING tenant = 'acme' TO aftermath_analyst_of_acme;
CREATE ROW POLICY IF NOT EXISTS aftermath_all ON aftermath.incident_timeline FOR SELECT USING 1 TO ALL EXCEPT aftermath_analyst_of_acme;
CREATE ROW POLICY IF NOT EXISTS aftermath_acme ON aftermath.incident_marks FOR SELECT USING tenant = 'acme' TO aftermath_analyst_of_acme;
CREATE ROW POLICY IF NOT EXISTS aftermath_all ON aftermath.incident_marks FOR SELECT USING 1 TO ALL EXCEPT aftermath_analyst_of_acme;
CREATE ROW POLICY IF NOT EXISTS aftermath_acme ON aftermath.write_watches FOR SELECT USING tenant = 'acme' TO aftermath_analyst_of_acme;
CREATE ROW POLICY IF NOT EXISTS aftermath_all ON aftermath.write_watches FOR SELECT USING 1 TO ALL EXCEPT aftermath_analyst_of_acme;
CREATE ROW POLICY IF NOT EXISTS aftermath_acme ON aftermath.notifications FOR SELECT USING tenant = 'acme' TO aftermath_analyst_of_acme;
CREATE ROW POLICY IF NOT EXISTS aftermath_all ON aftermath.notifications FOR SELECT USING 1 TO ALL EXCEPT aftermath_analyst_of_acme;
CREATE ROW POLICY IF NOT EXISTS aftermath_acme ON aftermath.acknowledgements FOR SELECT USING tenant = 'acme' TO aftermath_analyst_of_acme;
CREATE ROW POLICY IF NOT EXISTS aftermath_all ON aftermath.acknowledgements FOR SELECT USING 1 TO ALL EXCEPT aftermath_analyst_of_acme;
CREATE ROW POLICY IF NOT EXISTS aftermath_acme ON aftermath.controls FOR SELECT USING tenant = 'acme' TO aftermath_analyst_of_acme;
CREATE ROW POLICY IF NOT EXISTS aftermath_all ON aftermath.controls FOR SELECT USING 1 TO ALL EXCEPT aftermath_analyst_of_acme;
