"""Stories and figures of calls, out of the store: as data, as one HTML page, as Mermaid, and as rows."""
