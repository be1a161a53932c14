// SPDX-License-Identifier: Apache-2.0

// Makes Sluice perform every kind of system call that a guest can cause, in a few rounds of a few seconds:
// windows, vectors, pending bits, the INTx pin, peers, a moved BAR, FLR. Run by the lab case `inject`, which
// fails one of the calls. The checks of the affected device may then fail, but the guest still reaches its
// end. Needs QEMU's edu and ivshmem and an NVMe controller.
//
// Command line: `rounds=N` (1); `peers=0` if devices cannot reach each other.

import Hardware

private let vector = UInt32(FIRST_VECTOR)
private let line = UInt32(FIRST_VECTOR) + 2

func guest(_ machine: Machine, _ report: inout Report) {
  guard let edu = Edu.find(machine.commandLine),
    let memory = PCIBus.find(vendor: 0x1AF4, device: 0x1110), let window = BAR.usable(memory, 2),
    let drive = PCIBus.first(where: { $0.classCode == 0x01_0802 }), let bar = BAR.usable(drive, 0)
  else {
    report.check(false, "edu, ivshmem and NVMe are present")
    return
  }
  edu.function.setCommand(PCIFunction.Command.memory | PCIFunction.Command.busMaster, true)
  drive.setCommand(PCIFunction.Command.memory | PCIFunction.Command.busMaster, true)
  let value = mmio_load32(bar.address + 8)
  for round in 0..<(machine.commandLine.number("rounds") ?? 1) {
    report.note("round \(round)")
    checkWindow(memory, window, &report)
    if round == 0, machine.commandLine.number("peers") != 0 { checkPeer(edu, window, &report) }
    checkMessages(edu, &report)
    checkVectors(drive, bar, &report)
    checkReset(drive, bar, value, &report)
  }
}

/// Opens, closes and opens a window, then writes the BAR's present address to it.
private func checkWindow(_ memory: PCIFunction, _ window: BAR, _ report: inout Report) {
  memory.setCommand(PCIFunction.Command.memory, true)
  mmio_store64(window.address, 0x5EA1_ED00)
  memory.setCommand(PCIFunction.Command.memory, false)
  memory.setCommand(PCIFunction.Command.memory, true)
  report.equal(mmio_load64(window.address), 0x5EA1_ED00, "ivshmem keeps the written value")
  let register = PCIFunction.Register.firstBAR + 8
  let base = memory.load32(register)
  memory.store32(register, base)
  report.equal(mmio_load64(window.address), 0x5EA1_ED00, "ivshmem keeps the value after a write of its BAR")
}

/// Transfers bytes from edu to ivshmem, whose window is open.
private func checkPeer(_ edu: Edu, _ window: BAR, _ report: inout Report) {
  // edu has no reset: its memory holds bytes from an earlier guest.
  let address = window.address + 0x1000
  mmio_store64(address, .max)
  let isDone = edu.transfer(from: Edu.memory, to: address, 8, .toMemory)
  let value = mmio_load64(address)
  mmio_store64(address, ~value)
  let isDoneAgain = edu.transfer(from: Edu.memory, to: address, 8, .toMemory)
  report.check(isDone && isDoneAgain && mmio_load64(address) == value, "edu's DMA reaches ivshmem")
}

/// Switches edu from INTx to MSI and back to INTx.
private func checkMessages(_ edu: Edu, _ report: inout Report) {
  guard let msi = MSI(edu.function) else {
    report.check(false, "edu has MSI")
    return
  }
  msi.route(processor: 0, interrupt: line)
  msi.enable(true)
  let before = interrupt_count(0, line)
  edu.raise(1)
  report.check(Time.wait(milliseconds: 300) { interrupt_count(0, line) > before }, "edu's message arrives")
  edu.acknowledge(1)
  msi.route(processor: 0, interrupt: line + 1)
  msi.enable(false)
}

/// Unmasks a vector, masks it with an interrupt pending, and unmasks it again.
private func checkVectors(_ drive: PCIFunction, _ bar: BAR, _ report: inout Report) {
  guard let msix = MSIX(drive) else {
    report.check(false, "NVMe has MSI-X")
    return
  }
  msix.route(0, processor: 0, interrupt: vector)
  msix.enable(true)
  msix.mask(0, false)
  var nvme = NVMe(registers: bar.address, timeout: 1000)
  guard nvme.start() else {
    report.check(false, "NVMe becomes ready")
    return
  }
  let before = interrupt_count(0, vector)
  nvme.submitIdentify()
  report.check(nvme.waitForCompletion(), "NVMe completes a command")
  report.check(
    Time.wait(milliseconds: 300) { interrupt_count(0, vector) > before }, "NVMe's interrupt arrives")
  nvme.takeCompletion()
  msix.mask(0, true)
  nvme.submitIdentify()
  _ = nvme.waitForCompletion()
  report.check(Time.wait(milliseconds: 300) { msix.isPending(0) }, "NVMe's pending bit is set")
  let masked = interrupt_count(0, vector)
  msix.route(0, processor: 0, interrupt: vector + 1)
  msix.route(0, processor: 0, interrupt: vector)
  msix.mask(0, false)
  report.check(
    Time.wait(milliseconds: 300) { interrupt_count(0, vector) > masked }, "it arrives after unmasking")
  nvme.takeCompletion()
  report.check(nvme.stop(), "NVMe stops")
  msix.enable(false)
}

/// Resets the drive by FLR. Afterwards the drive has its earlier values.
private func checkReset(_ drive: PCIFunction, _ bar: BAR, _ value: UInt32, _ report: inout Report) {
  // Sluice completes the reset before the write returns.
  _ = FunctionReset.start(drive, pause: 0)
  drive.setCommand(PCIFunction.Command.memory | PCIFunction.Command.busMaster, true)
  report.equal(mmio_load32(bar.address + 8), value, "NVMe reads the same value after its reset")
}
