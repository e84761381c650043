package eventsource

import (
	"crypto/tls"
	"net/http"
	"strconv"
	"strings"

	"go.k6.io/k6/v2/metrics"
)

// answerTags are those that k6's own requests have, as far as the options want them.
func (in *instance) answerTags(response *http.Response) [][2]string {
	enabled := in.vu.State().Options.SystemTags
	var tags [][2]string
	add := func(tag metrics.SystemTag, value string) {
		if enabled.Has(tag) && value != "" {
			tags = append(tags, [2]string{tag.String(), value})
		}
	}
	add(metrics.TagStatus, strconv.Itoa(response.StatusCode))
	add(metrics.TagProto, response.Proto)
	if response.TLS != nil {
		version := tls.VersionName(response.TLS.Version) // "TLS 1.3", which k6 calls tls1.3
		add(metrics.TagTLSVersion, strings.ToLower(strings.ReplaceAll(version, " ", "")))
	}
	return tags
}

func (in *instance) failureTags(f *failure) [][2]string {
	tags := [][2]string{{"code", f.code}}
	if f.status != 0 && f.status != http.StatusOK && in.vu.State().Options.SystemTags.Has(metrics.TagStatus) {
		tags = append(tags, [2]string{metrics.TagStatus.String(), strconv.Itoa(f.status)})
	}
	return tags
}
