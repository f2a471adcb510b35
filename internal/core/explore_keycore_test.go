package core

// The core's part of a key, and the account's.

func (k *keyer) client(c *Client) {
	k.instants(c.now)
	k.bools(c.unbuilt > 0)
	k.bools(c.closed, c.ended, c.absent)
	k.times(c.endedAt, c.agedAt, c.promoted)
	k.nums(len(c.suspects))
	for _, s := range c.suspects {
		k.suspect(s)
	}
	k.times(c.sweepAt)
	for _, s := range c.busy {
		k.nums(hostOf(s.authority))
	}
	for _, e := range c.recent.entries {
		k.nums(hostOf(e.authority), len(e.authority.Host))
		k.times(e.value.over, e.value.swapped, e.value.useless, e.value.down)
		k.nums(e.value.answers)
		k.instants(e.value.served)
	}
	k.nums(len(c.patience.entries))
	for _, e := range c.patience.entries {
		k.nums(hostOf(e.authority))
		k.durations(e.value.now.wait, e.value.before, e.value.doubled, e.value.guessed)
		k.times(e.value.began, e.value.doubledUntil, e.value.now.at)
		k.nums(len(e.value.now.steps))
		for _, s := range e.value.now.steps {
			k.times(s.at)
			k.durations(s.wait)
		}
	}
	k.pace(&c.pace)
	k.pace(&c.planPace)
	k.nums(len(c.orders))
	for _, o := range c.orders {
		k.transport(o.candidate)
		k.bools(o.done)
	}
	k.nums(len(c.waiters))
	for _, q := range c.waiters {
		k.call(q)
	}
	k.list(&c.condemned)
	if c.cand != nil {
		k.candidate(c.cand)
	}
}

func (k *keyer) pace(p *pace) {
	k.durations(p.interval, p.first)
	k.bools(p.opened)
	k.times(p.built, p.notBefore)
}

func (k *keyer) suspect(s *suspect) {
	k.nums(hostOf(s.authority), int(s.state), s.failures, s.stalls, int(s.row), s.ended, s.lost, min(s.refusals, 1), s.proofs, s.missed)
	k.times(s.asked, s.failed, s.firstStall, s.copyAt, s.ripeAt, s.offerAt, s.controlAt, s.youngUntil, s.probeAt)
	k.instants(s.tripAt, s.opened, s.counted, s.evidence, s.refused, s.proved, s.up)
	k.durations(s.took, s.copyGap)
	k.bools(!s.tripped.IsZero())
	k.nums(k.w.c.recent.answers(s.tripped, s.authority)) // as the outage began
	if k.w.places > 0 {
		k.times(s.excusedUntil)
		k.durations(s.heldFor)
	}
	k.list(&s.flying)
	k.list(&s.strays)
	k.attempt(s.probe)
	for _, m := range s.methods {
		k.b = append(k.b, m.method...)
		k.instants(m.began)
	}
}

func (k *keyer) candidate(r *candidate) {
	k.nums(int(r.stage), len(r.stands))
	k.bools(r.planned, r.paced, r.paceWasFresh, r.trigger == Manual, r.epoch == k.w.c.paceOf(r.planned).epoch)
	k.instants(r.began, r.ready)
	k.times(r.until, r.halfway)
	k.durations(r.draw, r.age)
	for _, st := range r.stands {
		k.nums(hostOf(st.authority))
		k.list(&st.trials)
		k.attempt(st.holder)
		k.attempt(st.answered)
		k.attempt(st.callback)
		k.call(st.try)
		k.call(st.neutral)
		k.times(st.first, st.early, st.until, st.tried)
		k.durations(st.spent, st.had)
		k.bools(st.gone, st.owed)
		k.bools(st.late, st.slow, st.refused, st.tryLost, st.tryWell, st.inVain, st.missed)
		for _, m := range st.served {
			k.b = append(k.b, m.method...)
			k.instants(m.began)
			k.durations(m.took)
			k.times(m.until)
			k.bools(k.w.c.answered >= m.began)
		}
	}
}

func (k *keyer) account(a *account) {
	k.bools(a.ended, a.fresh, a.drawn, a.planned, a.idle, a.epoch == a.drawEpoch)
	for _, f := range k.w.factories {
		k.bools(f.epoch == a.epoch)
	}
	k.bools(a.ended && a.health.served > a.health.ended, a.ended && a.health.diverted > a.health.ended)
	k.durations(a.first, a.draw)
	k.times(a.built, a.notBefore, a.promoted, a.endedOver)
	k.steps(a.ready, a.youngest)
	k.nums(len(a.served))
	for _, s := range a.served {
		k.nums(s.host, int(s.kind), int(s.row))
		k.durations(s.waited)
		k.bools(s.copy, s.own, s.planned, s.control.unsent)
		k.durations(s.control.took)
		k.steps(s.began, s.step, s.control.began)
		k.instants(s.control.clock)
		k.transport(s.control.on)
		k.times(s.start, s.at)
		k.attempt(s.main)
	}
	for i := range a.hosts {
		h := &a.hosts[i]
		k.bools(h.suspicion != 0, h.tripped, h.outage, h.counting, h.refused, h.spent, h.useless, h.doubted)
		k.times(h.over, h.firstStall, h.failedAt, h.swapped, h.down)
		k.instants(h.opened, h.counted)
		k.bools(h.counting && a.health.served > h.from, h.counting && a.health.unbuilt > h.from, h.counting && a.health.diverted > h.from)
		k.nums(h.failures, h.stalls, int(h.row), h.ended, h.lost)
		k.durations(h.took)
		if k.w.places > 0 {
			k.times(h.moved, h.changed)
			k.durations(h.held)
		}
		k.steps(h.like[:]...)
		k.instants(h.passed)
		k.steps(h.before, h.latest, h.up)
		k.bools(h.vain > 0)
	}
}
