package main

import (
	"fmt"
	"time"
)

// The results of one run of everything.
type results struct {
	stub     []stubResult
	loopback []loopbackResult
	once     []loopbackResult // POSTs
	unpooled []unpooledResult
	recovery recoveryResult
	growth   growthResult
	fleet    fleetResult
	patience patienceResult
	load     string // on the machine, at the start
	took     time.Duration
}

// report writes the page.
func report(peers []peer, r results) *page {
	p := newPage()
	p.WriteString("# Measured beside its peers\n\n")
	p.printf("`make bench` measures respawn and its alternatives side by side, in one run that took %s, and writes this page. "+
		"Nothing here is written by hand.", duration(r.took.Round(time.Second)))
	p.table([]string{"machine", ""}, machine(r.load))
	reportBudgets(p, budgets(peers, r))
	reportNoise(p, r)
	reportStub(p, peers, r.stub)
	reportLoopback(p, peers, r.loopback)
	reportOnce(p, r.once)
	reportUnpooled(p, r.unpooled)
	reportRecovery(p, r.recovery)
	reportGrowth(p, r.growth)
	reportFleet(p, r.fleet)
	reportPatience(p, r.patience)
	reportPeers(p, peers)
	return p
}

// reportNoise tells what the A/A rows say of this run.
func reportNoise(p *page, r results) {
	p.heading("How sure this is")
	p.printf("Every round takes one sample of every row, in an order drawn anew. Each sample is compared with the bare transport's "+
		"of the same round, so whatever else the machine does affects all rows alike. A figure is the median of the rounds with "+
		"the interval that holds it with 95 %% confidence, whatever the distribution (`golang.org/x/perf/benchmath`, as benchstat does). "+
		"%q is the bare transport a second time: how far it is from zero, or from 1, is the noise. "+
		"\"Cores it had\" is its CPU time ÷ wall time: on the stub, several goroutines use all cores unless other processes do. One interval in twenty misses "+
		"the truth by chance. Each sample is in `benchmarks/bench.out`, for benchstat.", nameAA)
	var rows [][]string
	for _, s := range r.stub {
		noise := s.added(nameAA)
		rows = append(rows, []string{s.String(), noise.plus() + " ns", verdict(noise, 0), cores(s.samples)})
	}
	for _, l := range r.loopback {
		time, work := l.ratio(nameAA, wall), l.ratio(nameAA, cpu)
		rows = append(rows,
			[]string{l.String() + ", wall", time.times(), verdict(time, 1), cores(l.samples)},
			[]string{l.String() + ", CPU", work.times(), verdict(work, 1), cores(l.samples)})
	}
	p.table([]string{nameAA, "", "holds the truth", "cores it had"}, rows)
}

// cores is how many of them the bare transport's samples were given.
func cores(samples map[string][]sample) string {
	got := of(samples[nameBare], func(s sample) float64 { return s.cpu / s.wall })
	return fmt.Sprintf("%.1f", got.Mid)
}

func verdict(e estimate, truth float64) string {
	if e.contains(truth) {
		return "yes"
	}
	return "**no**"
}

func reportPeers(p *page, peers []peer) {
	p.heading("The rows")
	p.printf("Each peer is used as its docs say to use it as a RoundTripper. A test proves that every one calls the transport exactly once for each success.")
	version := versions()
	var rows [][]string
	for _, peer := range withPort(peers) {
		module, v := "`"+peer.module+"`", version[peer.module]
		if peer.module == "" {
			module = ""
		}
		rows = append(rows, []string{strong(peer.name), module, v, peer.use})
	}
	p.table([]string{"", "module", "version", "set up"}, rows)
}
