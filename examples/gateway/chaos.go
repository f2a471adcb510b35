package main

import (
	"log/slog"
	"net/http"
)

// chaosNone is the fault that undoes the others.
const chaosNone = "none"

// chaosHandler injects faults by hand: POST /chaos/{fault}.
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
		writeJSON(w, http.StatusOK, map[string]string{"fault": string(f), "effect": f.headline()})
	})
}
