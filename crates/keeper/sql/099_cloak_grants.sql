-- The proxy's conditions run with the rights of the client.
GRANT EXECUTE ON FUNCTION reprieve.hidden_relation_v1(oid), reprieve.hidden_routine_v1(oid),
    reprieve.hidden_object_v1(oid, oid) TO PUBLIC;
GRANT SELECT ON reprieve.hidden_trigger_names_v1, reprieve.hidden_parts_v1, reprieve.marked_v1, reprieve.hidden_attributes_v1,
    reprieve.marked_names_v1, reprieve.hidden_index_names_v1 TO PUBLIC;
