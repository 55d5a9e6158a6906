"""The workbench: Orthanc, the MONAI Label server and OHIF behind one gateway, and the launcher of all of them."""
