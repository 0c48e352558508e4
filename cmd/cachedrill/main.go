// Command cachedrill rehearses a cache outage and shows what an application feels, with a plain
// client and with holdfast, side by side. Without flags it needs nothing but a minute; -h tells the
// rest.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/member"
)

func main() {
	if member.Is(os.Args[1:]) { // one of the processes that the scenario groupcache starts
		fmt.Fprintln(os.Stderr, member.Run(os.Args[1:]))
		os.Exit(exitFailed)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // the second Ctrl-C ends the program without a report
	code := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}
