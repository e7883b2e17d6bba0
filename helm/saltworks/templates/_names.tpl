{{/* Names and labels. A RayJob is named by the release and 8 hex of its spec: 47 characters at most, which the operator demands. */}}

{{- define "saltworks.base" -}}
{{- $name := .Release.Name | replace "." "-" -}}
{{- if gt (len $name) 38 -}}
{{-   printf "%s-%s" ($name | trunc 31 | trimSuffix "-") (sha256sum $name | trunc 6) -}}
{{- else -}}
{{-   $name -}}
{{- end -}}
{{- end -}}

{{- define "saltworks.image" -}}
{{- $tag := .Values.image.tag | default .Chart.AppVersion -}}
{{- if .Values.image.digest -}}
{{-   printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{-   printf "%s:%s" .Values.image.repository $tag -}}
{{- end -}}
{{- end -}}

{{- define "saltworks.dataset" -}}
{{ .Values.settings.SALTWORKS_DATASET | default "digits" }}
{{- end -}}

{{/* What selects the release's pods. */}}
{{- define "saltworks.selector" -}}
app.kubernetes.io/name: saltworks
app.kubernetes.io/instance: {{ .Release.Name | trunc 63 | quote }}
{{- end -}}

{{/* Labels of an object, or with `part` of a pod: (dict "root" $ "part" "head"). */}}
{{- define "saltworks.labels" -}}
{{- $own := include "saltworks.selector" .root | fromYaml -}}
{{- $_ := set $own "saltworks/dataset" (include "saltworks.dataset" .root) -}}
{{- with .part }}{{ $_ := set $own "app.kubernetes.io/component" . }}{{ end -}}
{{- if .spot }}{{ $_ := set $own "saltworks/spot" "true" }}{{ end -}}
{{- merge $own .root.Values.labels | toYaml -}}
{{- end -}}

{{- define "saltworks.account" -}}
{{- $one := index .root.Values.serviceAccounts .part -}}
{{- $one.name | default (printf "%s-%s" (include "saltworks.base" .root) .part) -}}
{{- end -}}

{{- define "saltworks.claim" -}}
{{- with .Values.storage.claim -}}
{{- if .existing }}{{ .existing }}{{ else if .create }}{{ include "saltworks.base" $ }}-data{{ end -}}
{{- end -}}
{{- end -}}

{{/* How the run begins: refresh (a CronJob creates it), preflight (a Job does, when the plan holds), or direct. */}}
{{- define "saltworks.way" -}}
{{- if .Values.refresh.schedule -}}refresh
{{- else if and .Values.workerGroups (eq .Values.scaling "fixed") -}}preflight
{{- else -}}direct
{{- end -}}
{{- end -}}

{{- define "saltworks.autoscales" -}}
{{- if and .Values.workerGroups (eq .Values.scaling "autoscale") }}true{{ end -}}
{{- end -}}
