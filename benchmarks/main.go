// Command benchmarks measures respawn beside what people use today, and writes
// docs/benchmarks.md. Run it in its own directory, as `make bench` does.
package main

import (
	"flag"
	"fmt"
	"log"
	"math/rand/v2"
	"os"
	"os/exec"
	"time"
)

func main() {
	log.SetFlags(0)
	if os.Getenv(serverEnv) != "" {
		if err := serve(os.Stdin, os.Stdout); err != nil {
			log.Fatal(err)
		}
		return
	}
	e := full()
	docs := flag.String("docs", "../docs", "where the page goes")
	raw := flag.String("raw", "bench.out", "where the samples go, for benchstat")
	flag.DurationVar(&e.slice, "benchtime", e.slice, "how long one sample of the stub takes; others take multiples")
	flag.IntVar(&e.rounds, "rounds", e.rounds, "samples of each row")
	flag.IntVar(&e.processes, "processes", e.processes, "of the simulated fleet")
	flag.Parse()
	fleet := exec.Command("go", "test", "-count=1", "-run", fleetTest, ".")
	rnd := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 0))
	if err := run(rnd, e, fleet, *docs, *raw); err != nil {
		log.Fatal(err)
	}
}

func run(rnd *rand.Rand, e effort, fleet *exec.Cmd, docs, raw string) error {
	if e.rounds < leastRounds {
		return fmt.Errorf("-rounds is %d; take at least %d, since fewer samples have no 95 %% interval", e.rounds, leastRounds)
	}
	o := newObserver()
	defer o.close()
	peers := newPeers(o)
	r, err := measure(rnd, e, peers, fleet)
	if err != nil {
		return err
	}
	if err := report(peers, r).save(docs); err != nil {
		return err
	}
	return saveRaw(raw, r)
}

// measure runs the seven workloads one after the other. The command fleet runs
// the test fleetTest.
func measure(rnd *rand.Rand, e effort, peers []peer, fleet *exec.Cmd) (r results, err error) {
	start := time.Now()
	r.load = loadAverage()
	u, err := startUpstream()
	if err != nil {
		return r, err
	}
	defer func() {
		if cerr := u.close(); err == nil {
			err = cerr
		}
	}()
	for _, workload := range []struct {
		name string
		run  func() error
	}{
		{"a transport that costs nothing", func() (err error) { r.stub, err = runStub(rnd, e, peers); return }},
		{"real requests on loopback", func() (err error) { r.loopback, err = runLoopback(rnd, e, peers, u); return }},
		{"POSTs on loopback", func() (err error) { r.once, err = runOnce(rnd, e, peers, u); return }},
		{"what it costs not to recover", func() (err error) { r.unpooled, err = runUnpooled(rnd, e, u); return }},
		{"recovery", func() (err error) { r.recovery, err = runRecovery(e, peers); return }},
		{"growth", func() (err error) { r.growth, err = runGrowth(rnd, e, peers); return }},
		{"patience", func() (err error) { r.patience, err = runPatience(rnd, e); return }},
		{"a fleet", func() (err error) { r.fleet, err = runFleet(fleet, e.processes); return }},
	} {
		begin := time.Now()
		if err := workload.run(); err != nil {
			return r, fmt.Errorf("%s: %w", workload.name, err)
		}
		log.Printf("%-32s %s", workload.name, duration(time.Since(begin)))
	}
	r.took = time.Since(start)
	return r, nil
}
