package core

import "slices"

// A cloner copies a world: what was one is one in the copy, too.
type cloner struct {
	attempts  [][2]*Attempt
	calls     [][2]*Call
	suspects  [][2]*suspect
	travelers [][2]*traveler
	orders    [][2]*Order
}

func known[T any](seen [][2]*T, p *T) *T {
	for i := range seen {
		if seen[i][0] == p {
			return seen[i][1]
		}
	}
	return nil
}

func (k *cloner) call(q *Call) *Call {
	if q == nil {
		return nil
	}
	if p := known(k.calls, q); p != nil {
		return p
	}
	p := new(Call)
	k.calls = append(k.calls, [2]*Call{q, p})
	*p = *q
	p.main, p.copy, p.behind = k.attempt(q.main), k.attempt(q.copy), k.attempt(q.behind)
	return p
}

// attempt copies an attempt, but for its place in a list.
func (k *cloner) attempt(a *Attempt) *Attempt {
	if a == nil {
		return nil
	}
	if b := known(k.attempts, a); b != nil {
		return b
	}
	b := new(Attempt)
	k.attempts = append(k.attempts, [2]*Attempt{a, b})
	*b = *a
	b.prev, b.next, b.in = nil, nil, nil
	b.Call, b.under, b.silent.in = k.call(a.Call), k.suspect(a.under), k.suspect(a.silent.in)
	return b
}

func (k *cloner) list(to, from *attempts) {
	*to = attempts{}
	for a := from.first; a != nil; a = a.next {
		to.add(k.attempt(a))
	}
}

func (k *cloner) suspect(s *suspect) *suspect {
	if s == nil {
		return nil
	}
	if t := known(k.suspects, s); t != nil {
		return t
	}
	t := new(suspect)
	k.suspects = append(k.suspects, [2]*suspect{s, t})
	*t = *s
	t.witnesses, t.methods = slices.Clone(s.witnesses), slices.Clone(s.methods)
	t.probe = k.attempt(s.probe)
	k.list(&t.flying, &s.flying)
	k.list(&t.strays, &s.strays)
	return t
}

func (k *cloner) candidate(r *candidate) *candidate {
	if r == nil {
		return nil
	}
	s := *r
	s.stands, s.of = make([]*stand, len(r.stands)), make(map[Authority]*stand, len(r.of))
	for i, st := range r.stands {
		p := *st
		s.stands[i] = &p
		s.of[p.authority] = &p
		k.list(&p.trials, &st.trials)
		p.holder, p.answered, p.callback = k.attempt(st.holder), k.attempt(st.answered), k.attempt(st.callback)
		p.try, p.neutral, p.served = k.call(st.try), k.call(st.neutral), slices.Clone(st.served)
	}
	return &s
}

func (k *cloner) order(o *Order) *Order {
	if o == nil {
		return nil
	}
	if p := known(k.orders, o); p != nil {
		return p
	}
	p := new(Order)
	*p = *o
	k.orders = append(k.orders, [2]*Order{o, p})
	return p
}

func (k *cloner) client(c *Client) *Client {
	d := *c
	d.suspects, d.known = make([]*suspect, len(c.suspects)), make(map[Authority]*suspect, len(c.known))
	for i, s := range c.suspects {
		d.suspects[i] = k.suspect(s)
		d.known[s.authority] = d.suspects[i]
	}
	d.busy = nil
	for _, s := range c.busy {
		d.busy = append(d.busy, k.suspect(s))
	}
	d.recent.entries, d.patience.entries = slices.Clone(c.recent.entries), slices.Clone(c.patience.entries)
	for i := range d.patience.entries {
		l := &d.patience.entries[i].value.now
		l.steps = slices.Clone(l.steps)
	}
	d.cand = k.candidate(c.cand)
	d.orders = make([]*Order, len(c.orders))
	for i, o := range c.orders {
		d.orders[i] = k.order(o)
	}
	d.waiters = make([]*Call, len(c.waiters))
	for i, q := range c.waiters {
		d.waiters[i] = k.call(q)
	}
	k.list(&d.condemned, &c.condemned)
	d.todo = Todo{} // between two moves all is performed
	return &d
}

func (k *cloner) traveler(x *traveler) *traveler {
	if y := known(k.travelers, x); y != nil {
		return y
	}
	y := new(traveler)
	*y = *x
	k.travelers = append(k.travelers, [2]*traveler{x, y})
	y.q = k.call(x.q)
	return y
}

func (w *world) clone() *world {
	var k cloner
	v := *w
	v.c = k.client(w.c)
	v.lives = slices.Clone(w.lives)
	v.calls = make([]*traveler, len(w.calls))
	for i, x := range w.calls {
		v.calls[i] = k.traveler(x)
	}
	v.flights = make([]*flight, len(w.flights))
	for i, f := range w.flights {
		g := *f
		g.a, g.x = k.attempt(f.a), k.traveler(f.x)
		v.flights[i] = &g
	}
	v.factories = make([]*factory, len(w.factories))
	for i, f := range w.factories {
		g := *f
		v.factories[i] = &g
	}
	v.order = k.order(w.order)
	v.kept.Recall, v.kept.Part = nil, nil
	for _, a := range w.kept.Recall {
		v.kept.Recall = append(v.kept.Recall, k.attempt(a))
	}
	for _, q := range w.kept.Part {
		v.kept.Part = append(v.kept.Part, k.call(q))
	}
	v.acc.served = slices.Clone(w.acc.served)
	for i := range v.acc.served {
		s := &v.acc.served[i]
		s.x, s.main = k.traveler(s.x), k.attempt(s.main)
	}
	return &v
}
