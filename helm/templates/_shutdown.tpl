{{/* The arithmetic of a node's end, in seconds. README.md, "How a node ends". */}}

{{- define "fantail.shutdownSeconds" -}}
{{- with .Values.shutdown }}
{{- add .preStopSeconds .drainDelaySeconds .drainSeconds .marginSeconds }}
{{- end }}
{{- end }}

{{- define "fantail.gracePeriodSeconds" -}}
{{- $needed := include "fantail.shutdownSeconds" . | int }}
{{- $given := .Values.shutdown.gracePeriodSeconds }}
{{- if kindIs "invalid" $given }}
{{- $needed }}
{{- else if lt (int $given) $needed }}
{{- with .Values.shutdown }}
{{- fail (printf "shutdown.gracePeriodSeconds %d is too short: preStopSeconds %d + drainDelaySeconds %d + drainSeconds %d + marginSeconds %d = %d; kubelet would kill the node before its subscribers are ended" (int $given) (int .preStopSeconds) (int .drainDelaySeconds) (int .drainSeconds) (int .marginSeconds) $needed) }}
{{- end }}
{{- else }}
{{- int $given }}
{{- end }}
{{- end }}
