package core

// What proves a candidate, garbled.

func plantsOfProofs() []planted {
	const control = "%s promotes without a control's failure or silence"
	return []planted{
		{name: "a control is not needed", world: "refused", depth: 6, notice: control, state: func(w *world) {
			for _, x := range w.calls {
				for _, a := range []*Attempt{x.q.main, x.q.copy} {
					if a != nil && a.role == asCopy {
						a.role = asPlanned
					}
					if a != nil && a.role == onTrial {
						a.control = true
					}
				}
			}
		}},
		{name: "once only needs no like", world: "broken", depth: 7, notice: control, state: func(w *world) {
			for _, x := range w.calls {
				if a := x.q.main; a != nil && a.role == onTrial && x.q.Kind <= Once {
					a.control = true
				}
			}
		}},
		{name: "a copy's verdict is at once", world: "dark", depth: 8, notice: control, state: func(w *world) {
			if st := w.judges(); st != nil {
				st.answered.judgeAt = w.now
			}
		}},
		{name: "a copy that proves nothing gets no control", world: "dark", depth: 8, notice: control, state: func(w *world) {
			for _, x := range w.calls {
				if a := x.q.main; a != nil && x.q.copy != nil {
					a.start = x.q.copy.start
				}
			}
		}},
		{name: "a wait for a place is a silence", world: "one place", depth: 8, notice: control, state: func(w *world) {
			if st := w.judges(); st != nil {
				st.answered.Call.main.queued = false
			}
		}},
		{name: "what was refused leaves the evidence", world: "by hand, and it trips", depth: 6, notice: "%s tries a candidate, and has not failed since it refused one", state: func(w *world) {
			for _, s := range w.c.suspects {
				s.refused = 0
			}
		}},
		{name: "it works and is in vain", world: "by hand", first: []string{"GET a begins", "Recreate", "built", "GET b begins"}, depth: 5, notice: "what is planned is promoted, and %s tried it in vain", state: func(w *world) {
			if r := w.c.cand; r != nil {
				for _, st := range r.stands {
					st.inVain, st.tryWell = false, false
				}
			}
		}},
		{name: "planned is promoted at once", world: "by hand", depth: 6, notice: "what is planned is promoted untried before its time", state: func(w *world) {
			if r := w.c.cand; r != nil && r.planned && r.stage == Ready {
				r.until = w.now
			}
		}},
	}
}
