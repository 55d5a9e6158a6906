// OHIF's configuration for the workbench: one archive, behind the gateway that serves this file, and our extension.
window.config = async () => {
  const { extension } = await import("/acuity/extension.js");
  return {
    routerBasename: "/",
    showStudyList: true,
    extensions: [extension],
    modes: [],
    modesConfiguration: {
      "@ohif/mode-segmentation": {
        displayName: { $set: "Annotate" },
        hangingProtocol: { $set: ["acuity.sequences", "@ohif/mnGrid"] },
      },
    },
    customizationService: {},
    maxNumberOfWebWorkers: 3,
    maxNumRequests: { interaction: 20, thumbnail: 5, prefetch: 10 },
    showLoadingIndicator: true,
    showCPUFallbackMessage: true,
    showWarningMessageForCrossOrigin: false,
    showErrorDetails: "production",
    strictZSpacingForVolumeViewport: true,
    groupEnabledModesFirst: true,
    investigationalUseDialog: { option: "never" }, // the panel of the extension says it all the time
    defaultDataSourceName: "archive",
    dataSources: [
      {
        namespace: "@ohif/extension-default.dataSourcesModule.dicomweb",
        sourceName: "archive",
        configuration: {
          friendlyName: "Archive",
          name: "archive",
          qidoRoot: "/dicom-web",
          wadoRoot: "/dicom-web",
          wadoUriRoot: "/dicom-web",
          stowRoot: "/dicom-web",
          qidoSupportsIncludeField: true,
          supportsReject: false,
          supportsFuzzyMatching: false,
          supportsWildcard: true,
          imageRendering: "wadors",
          thumbnailRendering: "wadors",
          enableStudyLazyLoad: true,
          dicomUploadEnabled: false,
          singlepart: "bulkdata,video,pdf",
          bulkDataURI: { enabled: true },
          loadMultiframeAsPart10: false, // reads the wrong bits of some segmentations; the gateway serves their frames
          // BINARY segments, not a label map: what other viewers read.
          segmentation: { store: { defaultMode: "bitmap", transferSyntaxUID: "1.2.840.10008.1.2.1" } },
        },
      },
    ],
  };
};
