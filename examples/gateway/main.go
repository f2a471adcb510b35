// Command gateway is a small LLM gateway that stays up on respawn, and a show
// of why it does.
//
//	go run -C examples/gateway .
//
// plays a show of 12 seconds: an embedded OpenAI-compatible upstream (TLS,
// HTTP/2, streams) gets the same steady load from a plain http.Client and from
// one over respawn; at second 3 the transport under both dies. -fault says how:
//
//	blackhole  the established HTTP/2 connection swallows everything
//	closed     somebody closes the shared session
//	tunnel     the tunnel under the dialer dies
//	down       the upstream itself is down until second 6; nothing to replace
//
// -json prints the figures and nothing else, as [incident] has them, and
// -plot FILE.svg draws the incident.
//
//	go run -C examples/gateway . -serve :8080 [-debug :9090] [-upstream https://api.example.com]
//
// runs the gateway for real:
//
//	/                  an index of all that follows
//	/v1/...            to the upstream, streams word by word
//	/health/liveness   200 while the process runs
//	/health/readiness  200 while the recovering client is fit to serve, else 503
//	/metrics           Prometheus
//	/debug/respawn     a page that shows what respawn has done and is doing
//	/chaos/            the faults above for the embedded upstream, and how to
//	                   undo them; POST /chaos/{fault} injects one
//
// With -debug all but /v1/ is on that address, which need not be public. It
// starts while its upstream is down, and is ready once that has answered.
//
// Traces go by OTLP over HTTP to where OTEL_EXPORTER_OTLP_ENDPOINT says; with
// nothing set, recreations are written to standard output. Logs go to standard
// error, with the traces' ids. SIGTERM and SIGINT let running requests finish.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// The exit statuses, but for success.
const (
	statusFailed = 1
	statusUsage  = 2
)

// run is the program: it returns its exit status.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	opts, err := parseOptions(args, stdout)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	status := statusUsage
	if err == nil {
		status = statusFailed
		if opts.serve != "" {
			err = serve(ctx, service{opts.serve, opts.debug, opts.upstream, opts.firstByte}, stdout, stderr)
		} else {
			err = present(ctx, opts, stdout, stderr)
		}
	}
	if err == nil {
		return 0
	}
	fmt.Fprintf(stderr, "gateway: %s\n", oneLine(err))
	return status
}

// oneLine is what err says, however many errors came together in it.
func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }

// options are the command line.
type options struct {
	fault fault
	json  bool
	plot  string

	serve     string
	debug     string
	upstream  *url.URL
	firstByte time.Duration
}

func parseOptions(args []string, help io.Writer) (options, error) {
	var o options
	flags := flag.NewFlagSet("gateway", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // one line is enough, and run writes it
	name := flags.String("fault", string(faultBlackhole), "the show's `fault`: "+faultNames())
	flags.BoolVar(&o.json, "json", false, "print only the show's figures, as JSON")
	flags.StringVar(&o.plot, "plot", "", "draw the show into this SVG `file`")
	flags.StringVar(&o.serve, "serve", "", "run the gateway on this `address`, such as :8080, instead of the show")
	flags.StringVar(&o.debug, "debug", "", "with -serve: an `address` of its own, such as :9090, for all that is not for the public")
	upstream := flags.String("upstream", "", "with -serve: the `URL` of a real upstream (default: an embedded one)")
	flags.DurationVar(&o.firstByte, "first-byte", 30*time.Second, "with -serve: how long the upstream may take to begin its answer")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			flags.SetOutput(help)
			fmt.Fprintln(help, "A 12 s show of a client that recovers; or, with -serve, an LLM gateway that does.")
			flags.PrintDefaults()
			return o, err
		}
		return o, fmt.Errorf("%w (-help lists the flags)", err)
	}
	given := map[string]bool{}
	flags.Visit(func(f *flag.Flag) { given[f.Name] = true })

	if flags.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q (-help lists the flags)", flags.Arg(0))
	}
	var err error
	if o.fault, err = parseFault(*name); err != nil {
		return o, err
	}
	show, service := []string{"fault", "json", "plot"}, []string{"debug", "upstream", "first-byte"}
	alien, why := service, "needs -serve"
	if o.serve != "" {
		alien, why = show, "is for the show, not for -serve"
	}
	for _, name := range alien {
		if given[name] {
			return o, fmt.Errorf("-%s %s", name, why)
		}
	}
	if given["serve"] && o.serve == "" {
		return o, errors.New("-serve needs an address, such as :8080")
	}
	if o.firstByte <= 0 {
		return o, fmt.Errorf("-first-byte %v: must be positive", o.firstByte)
	}
	if given["upstream"] {
		if o.upstream, err = parseUpstream(*upstream); err != nil {
			return o, err
		}
	}
	return o, nil
}

func parseUpstream(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("-upstream %q: give an http or https URL, such as https://api.example.com", text)
	}
	return u, nil
}

// present plays the show and hands out what was asked for.
func present(ctx context.Context, o options, stdout, stderr io.Writer) (err error) {
	var picture *os.File
	if o.plot != "" {
		// Now: not after 12 seconds of show.
		if picture, err = os.OpenFile(o.plot, os.O_WRONLY|os.O_CREATE, 0o644); err != nil {
			return fmt.Errorf("cannot write the picture, choose another file for -plot: %w", err)
		}
		defer func() { err = errors.Join(err, picture.Close()) }()
	}
	view := screen(muteScreen{})
	if !o.json {
		view = newScreen(stdout)
	}
	in, interrupted := show(ctx, fullScript(o.fault), view, stderr)
	if in == nil {
		return interrupted
	}
	defer func() { err = errors.Join(err, interrupted) }()
	if picture != nil {
		if err := picture.Truncate(0); err != nil {
			return fmt.Errorf("cannot write the picture: %w", err)
		}
		if err := drawPlot(picture, in); err != nil {
			return err
		}
	}
	if o.json {
		return in.writeJSONTo(stdout)
	}
	in.writeTo(stdout, terminalWidth(stdout))
	return nil
}
