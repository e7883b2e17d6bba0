{{/* The settings as the environment holds them. Text stays as it is; all else goes by toJson, for `quote` would print a
     million as 1e+06. What the chart knows better than its user stands beside them. */}}
{{- define "saltworks.settings" -}}
{{- $data := dict -}}
{{- range $name, $value := .Values.settings -}}
{{-   if kindIs "string" $value }}{{ $_ := set $data $name $value }}
{{-   else if not (kindIs "invalid" $value) }}{{ $_ := set $data $name (toJson $value) }}{{ end -}}
{{- end -}}
{{- $known := include "saltworks.derived" . | fromYaml -}}
{{- $_ := set $known "SALTWORKS_PROGRESS" "json" -}}
{{- $_ := set $known "SALTWORKS_RETRIES" (toJson .Values.retries) -}}
{{- $_ := set $known "SALTWORKS_STOP_GRACE_S" (toJson .Values.deadlines.stopGrace) -}}
{{- with .Values.image.digest }}{{ $_ := set $known "SALTWORKS_IMAGE_DIGEST" . }}{{ end -}}
{{- $expects := dict -}}
{{- range .Values.secrets }}{{ $_ := set $expects .env (printf "%s/%s" .secret .key) }}{{ end -}}
{{- if $expects }}{{ $_ := set $known "SALTWORKS_EXPECTS" (toJson $expects) }}{{ end -}}
{{- merge $known $data | toYaml -}}
{{- end -}}

{{- define "saltworks.settings.name" -}}
{{ include "saltworks.base" . }}-settings-{{ include "saltworks.settings" . | sha256sum | trunc 8 }}
{{- end -}}
