package stampede

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// scrapeTime bounds how long one process is asked for its metrics.
const scrapeTime = time.Second

// scraper gathers the metrics of processes. Those that do not answer are left out: they may be dead
// or hung.
type scraper struct{ urls []string }

// Gather asks all processes, side by side.
func (s scraper) Gather() ([]*dto.MetricFamily, error) {
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTime)
	defer cancel()
	answers := make(chan map[string]*dto.MetricFamily)
	for _, url := range s.urls {
		go func() {
			families, err := scrape(ctx, url+"/metrics")
			if err != nil {
				families = nil
			}
			answers <- families
		}()
	}
	all := make(map[string]*dto.MetricFamily)
	for range s.urls {
		for name, family := range <-answers {
			if all[name] == nil {
				all[name] = family
				continue
			}
			all[name].Metric = append(all[name].Metric, family.GetMetric()...)
		}
	}
	var sorted []*dto.MetricFamily
	for _, family := range all {
		sorted = append(sorted, family)
	}
	slices.SortFunc(sorted, func(a, b *dto.MetricFamily) int { return strings.Compare(a.GetName(), b.GetName()) })
	return sorted, nil
}

var errScrape = errors.New("no metrics")

func scrape(ctx context.Context, url string) (map[string]*dto.MetricFamily, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return nil, err
	}
	response, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%w: %s", errScrape, response.Status)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	return parser.TextToMetricFamilies(response.Body)
}
