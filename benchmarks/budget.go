package main

import (
	"fmt"
	"net/http"
	"strings"
)

// A budget is what a figure may be, and what it was.
type budget struct {
	name, allowed string
	limit         string // the thinnest safe swappable wrapper
	measured      string
	met           bool
	nearest       string // peer
}

// What the budgets allow.
const (
	serialBudget   = 12.0  // ns added to a request without a body
	parallelBudget = 15.0  // the same with several goroutines,
	parallelFactor = 1.5   // and as a multiple of serial
	bodyBudget     = 45.0  // ns added to a request with a body,
	bodyBytes      = 48.0  // and its one allocation
	onceBudget     = 300.0 // ns added to a request that may be sent only once,
	onceAllocs     = 5.0   // and its allocations
	deadDials      = 5     // one that nobody watched, respawn's default threshold, and the control
)

// some is more allocations than rounding makes.
const some = .1

func budgets(peers []peer, r results) []budget {
	all := append(stubBudgets(peers, r.stub), onceStubBudget(r.patience))
	all = append(all, loopbackBudgets(r.loopback)...)
	all = append(all, onceBudgets(r.once)...)
	return append(all, recoveryBudgets(r.recovery)...)
}

func stubBudgets(peers []peer, results []stubResult) []budget {
	peerOf := func(r stubResult) string {
		name, ns := nearest(peers, func(name string) float64 { return r.added(name).Mid })
		return fmt.Sprintf("%s %+.0f ns", name, ns)
	}
	var all []budget
	var serial float64
	for _, r := range results {
		added := r.added(nameRespawn)
		work := over(r.samples[nameRespawn], r.samples[nameBare], cpu)
		s := r.samples[nameRespawn]
		count, size := of(s, allocs).Mid, of(s, bytes).Mid
		b := budget{
			name:     r.String(),
			measured: fmt.Sprintf("%s ns (CPU time %+.1f), %.0f allocs", added.plus(), work.Mid, count),
			nearest:  peerOf(r),
		}
		here := fmt.Sprintf(", here %+.0f", r.added(nameLimit).Mid)
		switch {
		case r.name == "NoBody" && r.goroutines == 1:
			serial = added.Mid
			b.allowed, b.limit = fmt.Sprintf("at most +%.0f ns, 0 allocs", serialBudget), "+7 ns"+here
			b.met = added.Mid <= serialBudget && count < some
		case r.name == "NoBody":
			b.allowed, b.limit = fmt.Sprintf("at most +%.0f ns, no worse than serial + 50 %%", parallelBudget), "+5.5 ns striped, +28 one counter"+here
			b.met = added.Mid <= min(parallelBudget, parallelFactor*serial) && count < some
		case r.goroutines == 1:
			b.allowed, b.limit = fmt.Sprintf("at most +%.0f ns, 1 alloc of at most %.0f B", bodyBudget, bodyBytes), "+28 ns, 32 B"+here
			b.measured = fmt.Sprintf("%s, %.0f B", b.measured, size)
			b.met = added.Mid <= bodyBudget && count < 1+some && size < bodyBytes+some
		default:
			continue // no budget was set
		}
		all = append(all, b)
	}
	return all
}

// onceStubBudget is the budget of a POST whose caller has no time to spare.
func onceStubBudget(r patienceResult) budget {
	for _, c := range r.cases {
		if c.method == http.MethodPost && c.caller == callerNear {
			added, count := c.added(nameRespawn), of(c.samples[nameRespawn], allocs).Mid
			return budget{
				name:     "stub, POST, serial",
				allowed:  fmt.Sprintf("at most +%.0f ns, %.0f allocs", onceBudget, onceAllocs),
				limit:    fmt.Sprintf("%s, here %+.0f", nameWatch, c.added(nameWatch).Mid),
				measured: fmt.Sprintf("%s ns, %.0f allocs", added.plus(), count),
				met:      added.Mid <= onceBudget && count < onceAllocs+some,
				nearest:  "none",
			}
		}
	}
	panic("no such case was measured")
}

func loopbackBudgets(results []loopbackResult) []budget {
	var all []budget
	for _, r := range results {
		b := r.budget(1)
		b.limit = "1.00"
		for _, name := range []string{"failsafe-go retry", "otelhttp"} {
			b.nearest += fmt.Sprintf(", %s %.2f", name, r.ratio(name, cpu).Mid)
		}
		b.nearest = strings.TrimPrefix(b.nearest, ", ") + " (CPU)"
		all = append(all, b)
	}
	return all
}

// onceBudgets are the budgets of POSTs on loopback.
func onceBudgets(results []loopbackResult) []budget {
	var all []budget
	for _, r := range results {
		b := r.budget(onceAllocs)
		b.name = "POST, " + b.name
		b.limit = fmt.Sprintf("%s, here %s, CPU %s", nameWatch, r.ratio(nameWatch, wall).times(), r.ratio(nameWatch, cpu).times())
		b.nearest = "none"
		all = append(all, b)
	}
	return all
}

// budget is that of requests that cannot be told from bare, with so many allocations at most.
func (r loopbackResult) budget(most float64) budget {
	time, work, more := r.ratio(nameRespawn, wall), r.ratio(nameRespawn, cpu), r.allocsMore(nameRespawn)
	return budget{
		name:     r.String(),
		allowed:  fmt.Sprintf("the interval contains 1.00, or is below; allocs: at most %.0f", most),
		measured: fmt.Sprintf("wall %s, CPU %s, %+.1f [%+.1f, %+.1f] allocs", time.times(), work.times(), more.Mid, more.Lo, more.Hi),
		met:      time.Lo <= 1 && work.Lo <= 1 && more.Lo < most+some,
	}
}

func recoveryBudgets(r recoveryResult) []budget {
	one, storm := recoveryOf(r.deadDialer, nameRespawn), recoveryOf(r.storm, nameRespawn)
	told, port := recoveryOf(r.toldStorm, nameRespawn), recoveryOf(r.toldStorm, namePort)
	others := 0
	for _, row := range r.deadDialer {
		if row.peer != nameRespawn && row.peer != nameLimit && row.recovered() {
			others++
		}
	}
	stormBudget := func(name string, s recovery) budget {
		return budget{
			name:     fmt.Sprintf("%s goroutines, %s", thousands(r.storms), name),
			allowed:  "1 recreation, 0 leaks, all GETs answered",
			limit:    "1",
			measured: fmt.Sprintf("%d recreation, %d left, %s of %s answered", s.recreated, s.left, thousands(s.answered), thousands(s.sent)),
			met:      s.recreated == 1 && s.built == 2 && s.left == 0 && s.answered == s.sent,
			nearest:  fmt.Sprintf("the literal port: %s built, %s left", thousands(port.built-1), thousands(port.left)),
		}
	}
	return []budget{
		{
			name:     "dead transport, k = threshold",
			allowed:  "request 1 succeeds, exactly k + 2 dead dials: nobody watched the first, whose error has no type; the last is the control",
			limit:    "k",
			measured: fmt.Sprintf("%d failed, %d dead dials", one.sent-one.answered, one.deadDials),
			met:      one.answered == one.sent && one.deadDials == deadDials,
			nearest:  fmt.Sprintf("%d of %d others recover", others, len(r.deadDialer)-2),
		},
		stormBudget("a dead dialer", storm),
		stormBudget("a session that says so", told),
	}
}

func recoveryOf(rows []recovery, name string) recovery {
	for _, r := range rows {
		if r.peer == name {
			return r
		}
	}
	return recovery{}
}

func reportBudgets(p *page, all []budget) {
	p.heading("Budgets")
	p.printf("What respawn may cost, and what it did cost. \"Limit\" is the thinnest safe wrapper that can swap its transport, on the machine that the budgets were set on and, " +
		"with one counter, here: two locked additions and no more. For a POST it is " + nameWatch + ". A budget of time is " +
		"met if the median is within it; the interval says how sure that is. CPU time is that of this process, without what others on the " +
		"machine used. Tests also hold the allocations, in `benchmarks/budget_test.go`.")
	var rows [][]string
	for _, b := range all {
		met := "**missed**"
		if b.met {
			met = "met"
		}
		rows = append(rows, []string{b.name, b.allowed, b.limit, b.measured, met, b.nearest})
	}
	p.table([]string{"", "budget", "limit", "measured", "", "nearest peer"}, rows)
}
