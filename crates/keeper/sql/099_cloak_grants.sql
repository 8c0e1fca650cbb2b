-- The proxy's conditions on the system catalogs run with the rights of the client.
GRANT EXECUTE ON FUNCTION reprieve.hidden_relation_v1(oid), reprieve.hidden_routine_v1(oid), reprieve.hidden_object_v1(oid, oid),
    reprieve.hidden_parts_v1(), reprieve.hidden_attributes_v1(), reprieve.trailing_attributes_v1(),
    reprieve.marked_names_v1(), reprieve.hidden_index_names_v1(),
    reprieve.hidden_trigger_names_v1() TO PUBLIC;
GRANT SELECT (relid, mode) ON reprieve.tables TO PUBLIC;
GRANT EXECUTE ON FUNCTION reprieve.without_marks_v1(oid, text), reprieve.pg_get_viewdef(oid), reprieve.pg_get_viewdef(oid, boolean),
    reprieve.pg_get_viewdef(oid, int), reprieve.pg_get_viewdef(text), reprieve.pg_get_viewdef(text, boolean),
    reprieve.view_definition_v1(name, name, text) TO PUBLIC;
