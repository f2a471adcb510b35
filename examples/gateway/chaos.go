package main

import (
	"log/slog"
	"net/http"
)

// chaosNone is the fault that undoes the others.
const chaosNone = "none"

// chaosRoutes inject faults by hand: POST /chaos/{fault}.
func chaosRoutes(l *link, logger *slog.Logger) []route {
	var entries []entry
	for _, f := range faults() {
		entries = append(entries, newEntry("POST /chaos/"+string(f), f.headline()+". "+f.undo()))
	}
	entries = append(entries, newEntry("POST /chaos/"+chaosNone, "undoes what can be undone: it brings the upstream back"))
	return []route{
		{"GET /chaos/{$}", "the faults that the embedded upstream can be given, and how to undo them",
			index("Faults of the embedded upstream", "For example: curl -X POST http://HOST:PORT/chaos/"+string(faultBlackhole), entries)},
		{"POST /chaos/{fault}", "injects one", chaosHandler(l, logger)},
	}
}

func chaosHandler(l *link, logger *slog.Logger) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		name := req.PathValue("fault")
		if name == chaosNone {
			if err := l.heal(req.Context()); err != nil {
				writeError(w, http.StatusInternalServerError, "chaos_error", err.Error())
				return
			}
			logger.InfoContext(req.Context(), "chaos: healed")
			writeJSON(w, http.StatusOK, map[string]string{"fault": chaosNone})
			return
		}
		f, err := parseFault(name)
		if err != nil {
			writeError(w, http.StatusNotFound, "unknown_fault", err.Error()+", or "+chaosNone+" to undo")
			return
		}
		l.inject(f)
		logger.WarnContext(req.Context(), "chaos: "+f.headline(), "fault", string(f))
		writeJSON(w, http.StatusOK, map[string]string{"fault": string(f), "effect": f.headline(), "undo": f.undo()})
	})
}
