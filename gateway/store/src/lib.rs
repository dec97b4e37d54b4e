//! Apps, keys, schemes, deployments and the change log, in SQL. The only user of SQL.
