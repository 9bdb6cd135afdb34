// A Caliper workload over the samples' asset-transfer-basic chaincode: creates assets, or reads them.

"use strict";

const { WorkloadModuleBase } = require("@hyperledger/caliper-core");

class Assets extends WorkloadModuleBase {
  constructor() {
    super();
    this.count = 0;
  }

  async submitTransaction() {
    const { contract, reads } = this.roundArguments;
    const number = this.count++;
    const id = `${this.workerIndex}_${reads ? number % 10 : number}`;
    await this.sutAdapter.sendRequests({
      contractId: contract,
      contractFunction: reads ? "ReadAsset" : "CreateAsset",
      contractArguments: reads ? [id] : [id, "blue", "20", "caliper", "500"],
      readOnly: Boolean(reads),
      timeout: 60,
    });
  }
}

module.exports.createWorkloadModule = () => new Assets();
