package core

import (
	"crypto/md5"
	"encoding/binary"
	"slices"
	"time"
)

// A key is what a world comes down to: instants and steps by their rank, times from
// now, transports by their role. Two worlds of one key have the same future.
type key [md5.Size]byte

type keyer struct {
	w     *world
	b     []byte
	which int // 0: it gathers what is to be ranked; 1: it writes
	stage [2][]int
}

func (w *world) key() key {
	k := keyer{w: w, b: make([]byte, 0, 1024)}
	k.world()
	for i := range k.stage {
		slices.Sort(k.stage[i])
		k.stage[i] = slices.Compact(k.stage[i])
	}
	k.which, k.b = 1, k.b[:0]
	k.world()
	return md5.Sum(k.b)
}

func (k *keyer) rank(of int, n int) {
	if k.which == 0 {
		k.stage[of] = append(k.stage[of], n)
		return
	}
	i, _ := slices.BinarySearch(k.stage[of], n)
	k.b = append(k.b, byte(i))
}

func (k *keyer) instants(is ...Instant) {
	for _, i := range is {
		if i == 0 {
			k.b = append(k.b, 255) // none
			continue
		}
		k.rank(0, int(i))
	}
}

func (k *keyer) steps(ns ...int) {
	for _, n := range ns {
		k.rank(1, n)
	}
}

// times: what is long past is all the same.
func (k *keyer) times(ts ...time.Time) {
	for _, t := range ts {
		ms := int64(-1 << 30)
		if !t.IsZero() {
			ms = max(t.Sub(k.w.now).Milliseconds(), -1300_000)
		}
		k.b = binary.AppendVarint(k.b, ms)
	}
}

func (k *keyer) nums(ns ...int) {
	for _, n := range ns {
		k.b = binary.AppendVarint(k.b, int64(n))
	}
}

func (k *keyer) durations(ds ...time.Duration) {
	for _, d := range ds {
		k.b = binary.AppendVarint(k.b, d.Microseconds())
	}
}

func (k *keyer) bools(bs ...bool) {
	for _, b := range bs {
		k.b = append(k.b, '0')
		if b {
			k.b[len(k.b)-1] = '1'
		}
	}
}

func (k *keyer) transport(id uint64) {
	c, n := k.w.c, byte(3)
	switch {
	case id == 0:
		n = 0
	case id == c.current:
		n = 1
	case c.cand != nil && id == c.cand.id:
		n = 2
	}
	k.b = append(k.b, n)
}

// call names a call by its place among the travelers.
func (k *keyer) call(q *Call) {
	if q == nil {
		k.nums(-2)
		return
	}
	k.nums(slices.IndexFunc(k.w.calls, func(x *traveler) bool { return x.q == q }))
}

// attempt names an attempt by its place among the flights, or spells it out.
func (k *keyer) attempt(a *Attempt) {
	if a == nil {
		k.nums(-2)
		return
	}
	i := slices.IndexFunc(k.w.flights, func(f *flight) bool { return f.a == a })
	k.nums(i)
	if i < 0 {
		k.spell(a)
	}
}

func (k *keyer) spell(a *Attempt) {
	k.call(a.Call)
	k.transport(a.On)
	k.instants(a.began)
	k.times(a.start, a.ripeAt, a.judgeAt)
	k.nums(int(a.role), int(a.row))
	k.durations(a.took)
	k.bools(a.over, a.held, a.goes, a.queued, a.connected, a.asked, a.control, a.brief, a.bound, a.in != nil, a.On == k.w.c.dead, a.On <= k.w.c.dead)
	k.nums(slices.Index(k.w.c.suspects, a.under), slices.Index(k.w.c.suspects, a.silent.in), a.silent.n)
	if a.silent.in == nil && a.silent.n > 0 {
		k.times(a.silent.first)
	}
}

func (k *keyer) list(l *attempts) {
	k.nums(l.n)
	for a := l.first; a != nil; a = a.next {
		k.attempt(a)
	}
}

func (k *keyer) world() {
	w := k.w
	k.client(w.c)
	for h := range 3 {
		k.nums(int(w.modes[h][0]), int(w.modes[h][1]))
	}
	k.nums(w.changes, w.leaves, w.jumps, w.locals, w.hands, w.ends, w.spoils, w.vanishings, len(w.calls), len(w.flights), len(w.factories))
	k.nums(w.lives...)
	for _, x := range w.calls {
		k.traveler(x)
	}
	for _, f := range w.flights {
		k.flight(f)
	}
	for _, f := range w.factories {
		k.transport(f.id)
		k.times(f.start)
		k.bools(f.planned, f.canceled, f.drawn)
		k.durations(f.delay)
	}
	k.transport(w.built)
	k.bools(w.builtPlan, w.sick[0], w.sick[1], w.order != nil, w.told, w.closed)
	if w.built != 0 {
		k.times(w.builtAt)
	}
	k.bools(w.stays && w.taught())
	k.account(&w.acc)
	for _, a := range w.kept.Recall {
		k.attempt(a)
	}
	for _, q := range w.kept.Part {
		k.call(q)
	}
	k.bools(w.kept.Cancel != 0)
	k.times(w.at)
}

func (k *keyer) traveler(x *traveler) {
	q := x.q
	k.nums(x.kind, int(x.at), x.sent, x.tries, x.rounds, x.asks, x.gens)
	k.times(x.until, x.rested, x.start, q.since, q.Deadline, q.readyBy, q.decidedBy)
	k.bools(x.free, x.worst, x.resumes, x.leaving, x.lost, x.well, x.vain, q.forgiven, q.tripped, q.left)
	k.transport(x.tried)
	k.transport(x.control.on)
	k.steps(x.control.began)
	k.instants(x.control.clock)
	k.durations(x.control.took, q.failure.took)
	k.bools(x.control.unsent, q.failure.apart, q.failure.again, q.failure.stall, q.failure.slow, q.failure.first, q.failure.on <= k.w.c.dead)
	k.attempt(q.main)
	k.attempt(q.copy)
	k.attempt(q.behind)
	k.transport(q.failure.on)
	k.instants(q.failure.began, q.failure.at)
	k.nums(q.attempts, int(q.waiting))
	k.transport(q.waitedFor)
}

func (k *keyer) flight(f *flight) {
	k.spell(f.a)
	k.bools(f.copy, f.trial, f.hidden, f.looks, f.sent, f.answered, f.told, f.left, f.inside, f.held, f.late, f.queued, f.extra, f.astray, f.tries)
	k.durations(f.queuedFor)
	k.steps(f.began)
	k.instants(f.clock)
	k.times(f.start, f.silentAt, f.behindAt, f.awaitedAt)
	k.nums(f.behind)
	k.nums(int(f.row), slices.Index(k.w.calls, f.x), f.silences)
	k.bools(f.silentIn != 0 && f.silentIn == k.w.acc.hosts[hostOf(f.x.q.Authority)].suspicion)
	k.bools(f.under != 0 && f.under == k.w.acc.hosts[hostOf(f.x.q.Authority)].suspicion)
}
