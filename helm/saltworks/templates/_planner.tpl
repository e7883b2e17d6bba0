{{/* The small pods that plan or probe before anything is rented: (dict "root" $ "part" "preflight" "verb" "preflight"). With
     a manifest they create RayJobs, and they alone of all pods that the chart makes hold a token for the API. */}}
{{- define "saltworks.planner" -}}
{{- $ := .root -}}
{{- $launches := ne .part "test" -}}
metadata:
  labels:
    {{- include "saltworks.labels" (dict "root" $ "part" .part) | nindent 4 }}
  {{- include "saltworks.podAnnotations" (dict "root" $ "own" (dict "cluster-autoscaler.kubernetes.io/safe-to-evict" "false" "karpenter.sh/do-not-disrupt" "true")) | nindent 2 }}
spec:
  {{- set (include "saltworks.podBasics" $ | fromYaml) "automountServiceAccountToken" $launches | toYaml | nindent 2 }}
  serviceAccountName: {{ include "saltworks.account" (dict "root" $ "part" (ternary "launcher" "head" $launches)) }}
  {{- include "saltworks.smallPlacing" $ | nindent 2 }}
  containers:
    - name: {{ .part }}
      {{- include "saltworks.imageFields" $ | nindent 6 }}
      command: [python, -m, job, {{ .verb }}]
      env:
        {{- include "saltworks.env" $ | nindent 8 }}
        {{- if $launches }}
        - {name: SALTWORKS_KUBERNETES__MANIFEST, value: /etc/saltworks/rayjob.json}
        - name: SALTWORKS_KUBERNETES__NAMESPACE
          valueFrom: {fieldRef: {apiVersion: v1, fieldPath: metadata.namespace}}
        - name: JOB_NAME
          valueFrom: {fieldRef: {apiVersion: v1, fieldPath: "metadata.labels['batch.kubernetes.io/job-name']"}}
        - name: JOB_UID
          valueFrom: {fieldRef: {apiVersion: v1, fieldPath: "metadata.labels['batch.kubernetes.io/controller-uid']"}}
        - {name: SALTWORKS_KUBERNETES__OWNER, value: $(JOB_NAME)/$(JOB_UID)}
        {{- if eq .part "refresh" }}
        - {name: SALTWORKS_KUBERNETES__HISTORY, value: {{ $.Values.refresh.history | int | quote }}}
        - name: SALTWORKS_KUBERNETES__TICK
          valueFrom: {fieldRef: {apiVersion: v1, fieldPath: "metadata.labels['batch.kubernetes.io/job-name']"}}
        {{- else }}
        - {name: SALTWORKS_SUBMISSION, value: {{ include "saltworks.rayjob.name" $ | quote }}}
        {{- end }}
        {{- end }}
      envFrom:
        {{- include "saltworks.envFrom" $ | nindent 8 }}
      terminationMessagePolicy: FallbackToLogsOnError
      resources:
        {{- toYaml $.Values.preflight.resources | nindent 8 }}
      securityContext:
        {{- include "saltworks.security" $ | nindent 8 }}
      volumeMounts:
        {{- include "saltworks.mounts" $ | nindent 8 }}
        {{- if $launches }}
        - {name: manifest, mountPath: /etc/saltworks, readOnly: true}
        {{- end }}
  volumes:
    {{- include "saltworks.volumes" (dict "root" $ "tmp" $.Values.preflight.tmpSize "resources" $.Values.preflight.resources) | nindent 4 }}
    {{- if $launches }}
    - name: manifest
      configMap: {name: {{ include "saltworks.manifest.name" $ }}}
    {{- end }}
{{- end -}}

{{/* Of the Job that plans. What its pods are cannot be changed in place, so other pods are another Job, beside the RayJob's
     hash; of 63 characters five of its hex remain at least. */}}
{{- define "saltworks.preflight.name" -}}
{{- $pods := include "saltworks.planner" (dict "root" . "part" "preflight" "verb" "preflight") | sha256sum | trunc 8 -}}
{{ printf "%s-%s" (include "saltworks.rayjob.name" .) $pods | trunc 53 }}-preflight
{{- end -}}

{{- define "saltworks.manifest" -}}
{{- include "saltworks.rayjob" . | fromYaml | toPrettyJson -}}
{{- end -}}

{{/* In preflight it is the RayJob's name, too. */}}
{{- define "saltworks.manifest.name" -}}
{{ include "saltworks.base" . }}-{{ include "saltworks.rayjob.hash" . }}
{{- end -}}

{{/* What a Job does about an exit code: what trying again cannot mend ends it at once, and its condition names the code. */}}
{{- define "saltworks.failurePolicy" -}}
rules:
  - action: FailJob
    onExitCodes: {containerName: {{ . }}, operator: In, values: [64, 65, 70, 73, 76, 77]}
  - action: Ignore
    onPodConditions: [{type: DisruptionTarget, status: "True"}]
{{- end -}}
