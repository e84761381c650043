// Package fantail registers the k6 modules `k6/x/eventsource` and `k6/x/redis`.
package fantail

import (
	"go.k6.io/k6/v2/js/modules"

	"fantail/k6/eventsource"
	"fantail/k6/redis"
)

func init() {
	modules.Register("k6/x/eventsource", eventsource.New())
	modules.Register("k6/x/redis", redis.New())
}
