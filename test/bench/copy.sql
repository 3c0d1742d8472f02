-- COPY of rows from standard input into an empty table without indexes
TRUNCATE copied;
SELECT clock_timestamp() AS began \gset
\copy copied from pstdin
SELECT 'wall', extract(epoch FROM clock_timestamp() - :'began');
SELECT 'posts', count(*) FROM copied;
