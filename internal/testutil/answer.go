package testutil

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/holdfast-go/holdfast/internal/testutil/internal/host"
)

const answerTimeout = time.Second

// awaitAnswer waits until the process, not another one on the same port, answers at addr. It
// returns its name and version.
func awaitAnswer(ctx context.Context, r *host.Run, network, addr string) (string, error) {
	for {
		stats, err := askStats(ctx, network, addr)
		if err == nil && stats["pid"] != strconv.Itoa(r.PID()) {
			return "", host.ErrPortTaken
		}
		if err == nil {
			return "memcached " + stats["version"], nil
		}
		select {
		case <-ctx.Done():
			return "", fmt.Errorf("no answer at %s: %w (last: %w): %s", addr, ctx.Err(), err, r.Stderr())
		case <-r.Exited():
			return "", exitError(r)
		case <-time.After(pollInterval):
		}
	}
}

func exitError(r *host.Run) error {
	text := strings.TrimSpace(r.Stderr())
	if strings.Contains(text, "Address already in use") {
		return fmt.Errorf("%w: %s", host.ErrPortTaken, text)
	}
	return fmt.Errorf("ended at once: %s", text)
}

// askStats returns the answer to the stats command.
func askStats(ctx context.Context, network, addr string) (map[string]string, error) {
	dialer := net.Dialer{Timeout: answerTimeout}
	conn, err := dialer.DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(answerTimeout)); err != nil {
		return nil, err
	}
	if _, err := conn.Write([]byte("stats\r\n")); err != nil {
		return nil, err
	}
	stats := make(map[string]string)
	lines := bufio.NewScanner(conn)
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		if len(words) == 1 && words[0] == "END" {
			return stats, nil
		}
		if len(words) == 3 && words[0] == "STAT" {
			stats[words[1]] = words[2]
		}
	}
	return nil, fmt.Errorf("the answer to stats has no end: %w", errors.Join(lines.Err(), net.ErrClosed))
}
