{{- define "saltworks.refuse" -}}{{- end -}}
